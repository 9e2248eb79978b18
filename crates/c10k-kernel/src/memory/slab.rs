//! Slab caches: `/proc/slabinfo`, and which names stand for one cache.

use std::collections::BTreeMap;
use std::io;

use crate::counters::{ProcFile, ProcRoot, lines, number, words};

use super::page_bytes;

/// One slab cache (slabinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slab {
    /// The name slabinfo shows; of merged caches it is the first one's.
    pub name: String,
    /// Objects in use. With SLUB an upper bound: objects in per-CPU and partly used slabs count as in use.
    pub active_objects: u64,
    /// Objects there is room for.
    pub objects: u64,
    /// Bytes an object, padding included.
    pub object_bytes: u64,
    /// Objects in one slab.
    pub objects_per_slab: u64,
    /// Pages of one slab.
    pub pages_per_slab: u64,
    /// Slabs now.
    pub slabs: u64,
}

impl Slab {
    /// The memory this cache takes from the host, in bytes, free objects included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slabs * self.pages_per_slab * page_bytes()
    }

    /// The share of one object in the memory of its slab, in bytes: never less than the object itself.
    #[must_use]
    pub fn bytes_per_object(&self) -> f64 {
        let slab_bytes = (self.pages_per_slab * page_bytes()) as f64;
        slab_bytes / self.objects_per_slab.max(1) as f64
    }
}

/// Reads `/proc/slabinfo`, opened once. Root only.
#[derive(Debug)]
pub struct SlabReader {
    file: ProcFile,
    buffer: Vec<u8>,
}

impl SlabReader {
    /// Opens the slab caches.
    #[must_use]
    pub fn open(root: &ProcRoot) -> Self {
        Self { file: ProcFile::open(root.path("proc/slabinfo")), buffer: Vec::new() }
    }

    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> &ProcFile {
        &self.file
    }

    /// Reads all caches now.
    ///
    /// # Errors
    /// EACCES for an ordinary user; EBADMSG when the file is not of version 2.
    pub fn read(&mut self) -> io::Result<Vec<Slab>> {
        let text = self.file.read(&mut self.buffer)?;
        if !text.starts_with(b"slabinfo - version: 2") {
            return Err(io::Error::from_raw_os_error(libc::EBADMSG));
        }
        Ok(lines(text).skip(1).filter(|line| !line.starts_with(b"#")).filter_map(parse_line).collect())
    }
}

/// Which slab names stand for one cache, from the links of `/sys/kernel/slab` (Documentation/mm/slab: caches of one
/// size and kind are merged).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlabNames {
    cache_of: BTreeMap<String, String>,
}

impl SlabNames {
    /// Reads the links.
    ///
    /// # Errors
    /// As readdir(3): ENOENT without SLUB's sysfs, EACCES for an ordinary user.
    pub fn read(root: &ProcRoot) -> io::Result<Self> {
        let mut cache_of = BTreeMap::new();
        for entry in std::fs::read_dir(root.path("sys/kernel/slab"))? {
            let entry = entry?;
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let cache = target.file_name().unwrap_or(target.as_os_str());
            cache_of.insert(
                entry.file_name().to_string_lossy().into_owned(),
                cache.to_string_lossy().into_owned(),
            );
        }
        Ok(Self { cache_of })
    }

    /// The cache behind a name (such as `:A-0000128`); the name itself when it is not merged.
    #[must_use]
    pub fn cache<'n>(&'n self, name: &'n str) -> &'n str {
        self.cache_of.get(name).map_or(name, String::as_str)
    }

    /// Whether two names stand for the same cache.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        self.cache(one) == self.cache(other)
    }

    /// The slab among `slabs` that holds the objects called `name`, whatever name it is shown under.
    #[must_use]
    pub fn find<'s>(&self, slabs: &'s [Slab], name: &str) -> Option<&'s Slab> {
        slabs
            .iter()
            .find(|slab| slab.name == name)
            .or_else(|| slabs.iter().find(|slab| self.same(&slab.name, name)))
    }
}

fn parse_line(line: &[u8]) -> Option<Slab> {
    // name active_objs num_objs objsize objperslab pagesperslab : tunables a b c : slabdata active num shared
    let mut columns = words(line);
    let name = String::from_utf8_lossy(columns.next()?).into_owned();
    let mut next = || number(columns.next()?);
    let (active_objects, objects, object_bytes) = (next()?, next()?, next()?);
    let (objects_per_slab, pages_per_slab) = (next()?, next()?);
    let mut data = columns.skip_while(|word| *word != b"slabdata").skip(2);
    let slabs = number(data.next()?)?;
    Some(Slab { name, active_objects, objects, object_bytes, objects_per_slab, pages_per_slab, slabs })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const SLABINFO: &str = "slabinfo - version: 2.1\n\
        # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>\n\
        TCP                66    117   2368   13    8 : tunables    0    0    0 : slabdata      9      9      0\n\
        eventpoll_epi     407    512    128   32    1 : tunables    0    0    0 : slabdata     15     16      0\n\
        broken line\n";

    fn recorded() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc")).unwrap();
        fs::write(folder.path().join("proc/slabinfo"), SLABINFO).unwrap();
        let slab = folder.path().join("sys/kernel/slab");
        fs::create_dir_all(slab.join(":A-0000128")).unwrap();
        fs::create_dir_all(slab.join("TCP")).unwrap();
        symlink(":A-0000128", slab.join("eventpoll_epi")).unwrap();
        symlink(":A-0000128", slab.join("tcp_bind_bucket")).unwrap();
        folder
    }

    #[test]
    fn slabinfo_is_read_and_broken_lines_are_left_out() {
        let host = recorded();
        let slabs = SlabReader::open(&ProcRoot::recorded(host.path())).read().unwrap();
        assert_eq!(slabs.len(), 2);
        let tcp = &slabs[0];
        assert_eq!((tcp.active_objects, tcp.objects, tcp.object_bytes, tcp.slabs), (66, 117, 2368, 9));
        assert_eq!(tcp.bytes(), 9 * 8 * page_bytes());
        assert!(tcp.bytes_per_object() > 2368.0);
    }

    #[test]
    fn merged_caches_are_found_under_the_first_ones_name() {
        let host = recorded();
        let root = ProcRoot::recorded(host.path());
        let names = SlabNames::read(&root).unwrap();
        let slabs = SlabReader::open(&root).read().unwrap();
        assert!(names.same("eventpoll_epi", "tcp_bind_bucket"));
        assert!(!names.same("TCP", "eventpoll_epi"));
        assert_eq!(names.find(&slabs, "tcp_bind_bucket").unwrap().name, "eventpoll_epi");
        assert_eq!(names.find(&slabs, "filp"), None);
    }

    #[test]
    fn a_file_that_is_not_slabinfo_is_an_error() {
        let host = recorded();
        fs::write(host.path().join("proc/slabinfo"), "something else\n").unwrap();
        let error = SlabReader::open(&ProcRoot::recorded(host.path())).read().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADMSG));
    }
}
