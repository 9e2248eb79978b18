//! Servers of several processes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{Foreign, in_a_group, runs, skipped};

const PROCESSES: &str = include_str!("several.py");

/// Node's cluster: the first process listens, its workers hold the connections.
const CLUSTER: &str = r#"
const cluster = require("node:cluster"), net = require("node:net");
if (cluster.isPrimary) {
  const workers = Number(process.argv[1]);
  let up = 0;
  for (let n = 0; n < workers; n++) cluster.fork();
  cluster.on("listening", (worker, address) => {
    if (++up === workers) console.log(process.pid, address.port);
  });
} else {
  const server = net.createServer((peer) => { peer.on("error", () => {}); peer.pipe(peer); });
  server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 });
}
"#;

impl Foreign {
    /// `several.py` of this kind, with these workers and descriptors; `None`, said aloud, where there is no python3.
    pub(crate) fn several(kind: &str, workers: u32, descriptors: Option<u32>) -> Option<Self> {
        if !runs("python3", &["-c", "pass"]) {
            return skipped("python3");
        }
        Some(Self::that_says_where(&["python3", "-c", PROCESSES, kind, &workers.to_string()], descriptors))
    }

    /// Node's cluster with so many workers; `None`, said aloud, where node is not installed.
    pub(crate) fn node_cluster(workers: u32, descriptors: Option<u32>) -> Option<Self> {
        if !runs("node", &["-e", "0"]) {
            return skipped("node");
        }
        Some(Self::that_says_where(&["node", "-e", CLUSTER, &workers.to_string()], descriptors))
    }

    fn that_says_where(words: &[&str], descriptors: Option<u32>) -> Self {
        let limit = descriptors.map_or("$(ulimit -H -n)".to_owned(), |most| most.to_string());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]).args(words);
        let mut child = in_a_group(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let mut words = line.split_whitespace().map(|word| word.parse::<u32>().expect("a number"));
        let (pid, port) = (words.next().expect("a pid"), words.next().expect("a port"));
        Self { child, pid, port: u16::try_from(port).expect("a port"), folder: None }
    }

    /// Its processes but for the first, in the order of their pids: they are in one process group.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let group = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse::<u32>().ok()
        };
        let processes = std::fs::read_dir("/proc").expect("there is /proc").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let first = self.child.id();
        let mut found: Vec<u32> = pids.filter(|pid| *pid != first && group(*pid) == Some(first)).collect();
        found.sort_unstable();
        found
    }
}
