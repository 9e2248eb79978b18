//! Names of servers: which of their addresses is meant, and who listens elsewhere.
//!
//! A name may have several addresses, as `localhost` has in most /etc/hosts. Other clients try one after the other until
//! somebody answers (RFC 8305); a swarm has one server, and so chooses it before the first connect.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use c10k_collector::find_server;
use c10k_kernel::socket;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const MOST: usize = 8;

/// What the reader should know, with its id.
pub(crate) type Note = (&'static str, String);

/// Who knows names, and whether anybody answers at an address.
pub(crate) trait Network {
    /// The addresses of a name, in the order of the resolver.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
    /// Whether somebody takes a connection there.
    fn connect(&self, to: SocketAddr) -> io::Result<()>;
}

/// The network of this process.
pub(crate) struct Here;

impl Network for Here {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 1).to_socket_addrs()?.map(|address| address.ip()).collect())
    }

    fn connect(&self, to: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        // It keeps no port in TIME_WAIT; where that cannot be had the close is an ordinary one.
        let _ = socket::set_reset_on_close(stream.as_fd());
        Ok(())
    }
}

/// The address that `name` means for a server on `port`: its only one, or the first at which somebody answers. Of two
/// families that of the sources is meant, where those are `named`; else IPv4 comes first: 127.0.0.0/8 has many sources, and
/// ::1 is only one.
///
/// # Errors
/// What the resolver said.
pub(crate) fn address_of(
    network: &impl Network,
    name: &str,
    port: u16,
    named: Option<IpAddr>,
) -> io::Result<(IpAddr, Option<Note>)> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for ip in network.resolve(name)? {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    let fits = |ip: &IpAddr| named.is_none_or(|source| source.is_ipv4() == ip.is_ipv4());
    // A name without an address of that family is refused with the one that it has.
    if addresses.iter().any(fits) {
        addresses.retain(fits);
    }
    addresses.truncate(MOST);
    let first = *addresses.first().ok_or_else(|| io::Error::other("no address"))?;
    if addresses.len() == 1 {
        return Ok((first, None));
    }
    let mut tried = Vec::new();
    for ip in &addresses {
        match network.connect(SocketAddr::new(*ip, port)) {
            Ok(()) => {
                let note = format!("'{name}' is {}: {ip} is used; {}", list(&addresses), tried.join(", "));
                return Ok((*ip, (!tried.is_empty()).then_some(("server-address", note))));
            }
            Err(error) => tried.push(format!("{ip} does not answer on port {port} ({error})")),
        }
    }
    let note = format!("'{name}' is {}: {first} is used, though {}", list(&addresses), tried.join(", "));
    Ok((first, Some(("server-address", note))))
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" and ")
}

/// Where somebody listens on the port of `server`, an address of this machine that refuses connections.
pub(crate) fn listens_elsewhere(network: &impl Network, server: SocketAddr) -> Option<Note> {
    let found = find_server(&[server.port()]).ok()?;
    // Who listens on all addresses of a family is seen at that of the loopback device.
    let may_serve =
        |at: &SocketAddr| at.ip() == server.ip() || at.is_ipv4() == server.is_ipv4() && at.ip().is_loopback();
    if found.addresses.iter().any(may_serve) {
        return None;
    }
    // A listener on all of IPv6 may take IPv4 too.
    let error = network.connect(server).err()?;
    let others = found.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let pid = found.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Some((
        "server-elsewhere",
        format!("nobody listens on {server} ({error}); on {others} somebody does{pid}"),
    ))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A network with one name, in which these addresses answer.
    struct Hosts(&'static [&'static str], &'static [&'static str]);

    impl Network for Hosts {
        fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            assert_eq!(name, "box");
            Ok(self.0.iter().map(|ip| ip.parse().expect("an address")).collect())
        }

        fn connect(&self, to: SocketAddr) -> io::Result<()> {
            match self.1.contains(&to.ip().to_string().as_str()) {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            }
        }
    }

    fn chosen(names: &'static [&'static str], answer: &'static [&'static str]) -> (String, String) {
        chosen_from(names, answer, None)
    }

    fn chosen_from(
        names: &'static [&'static str],
        answer: &'static [&'static str],
        source: Option<&str>,
    ) -> (String, String) {
        let source = source.map(|source| source.parse().expect("an address"));
        let (ip, note) = address_of(&Hosts(names, answer), "box", 80, source).expect("it is known");
        (ip.to_string(), note.map_or_else(String::new, |(_, text)| text))
    }

    #[test]
    fn of_several_addresses_the_first_that_answers_is_meant_and_what_did_not_is_told() {
        let both = &["::1", "127.0.0.1", "::1"];
        assert_eq!(chosen(both, &["127.0.0.1", "::1"]), ("127.0.0.1".to_owned(), String::new()));
        let (ip, note) = chosen(both, &["::1"]);
        assert_eq!(ip, "::1");
        let told = "'box' is 127.0.0.1 and ::1: ::1 is used; 127.0.0.1 does not answer on port 80 (Connection refused";
        assert!(note.starts_with(told), "{note}");
        let (ip, note) = chosen(both, &[]);
        assert_eq!(ip, "127.0.0.1");
        assert!(
            note.contains("though 127.0.0.1 does not answer") && note.contains(", ::1 does not"),
            "{note}"
        );
        assert_eq!(chosen(&["192.0.2.1", "192.0.2.2"], &["192.0.2.2"]).0, "192.0.2.2");
    }

    #[test]
    fn of_two_families_that_of_the_sources_is_meant() {
        let both = &["127.0.0.1", "::1"];
        let (none, all) = (String::new, &["127.0.0.1", "::1"]);
        assert_eq!(chosen_from(both, all, Some("::1")), ("::1".to_owned(), none()));
        assert_eq!(chosen_from(both, all, Some("127.0.0.9")), ("127.0.0.1".to_owned(), none()));
        // Where nobody answers there, the other family is none that these sources reach.
        assert_eq!(chosen_from(both, &["127.0.0.1"], Some("::1")).0, "::1");
        assert_eq!(chosen_from(both, &["::1"], Some("127.0.0.9")).0, "127.0.0.1");
        let more = &["127.0.0.1", "2001:db8::1", "2001:db8::2"];
        let (ip, note) = chosen_from(more, &["127.0.0.1", "2001:db8::2"], Some("2001:db8::9"));
        assert_eq!(ip, "2001:db8::2");
        assert!(note.contains("2001:db8::1 does not answer") && !note.contains("127.0.0.1"), "{note}");
        assert_eq!(chosen_from(&["127.0.0.1"], &[], Some("::1")).0, "127.0.0.1", "it has no other");
    }

    #[test]
    fn an_only_address_is_not_tried_and_a_name_without_any_is_refused() {
        assert_eq!(chosen(&["::1"], &[]), ("::1".to_owned(), String::new()));
        assert!(address_of(&Hosts(&[], &[]), "box", 80, None).is_err());
    }

    /// A listener on this address, where the machine has the family.
    fn listener(at: &str) -> Option<(TcpListener, u16)> {
        let listener = TcpListener::bind(at).ok()?;
        let port = listener.local_addr().expect("bound").port();
        Some((listener, port))
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
    fn who_listens_at_another_address_is_named_and_who_listens_on_all_is_not() {
        let at = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
        let note = |server| listens_elsewhere(&Here, server).map(|(_, text)| text);
        let (_all, port) = listener("0.0.0.0:0").expect("IPv4");
        assert_eq!(note(at("127.0.0.9", port)), None);
        let (_one, port) = listener("127.0.0.9:0").expect("IPv4");
        assert_eq!(note(at("127.0.0.9", port)), None);
        let Some((_six, port)) = listener("[::1]:0") else { return eprintln!("SKIPPED: no IPv6 here") };
        let told = note(at("127.0.0.1", port)).expect("it listens on ::1 alone");
        assert!(told.contains(&format!("nobody listens on 127.0.0.1:{port}")), "{told}");
        assert!(
            told.contains(&format!("on [::1]:{port} somebody does (process {})", std::process::id())),
            "{told}"
        );
        assert_eq!(note(at("::1", port)), None);
        let Some((_both, port)) = listener("[::]:0") else { return };
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            assert_eq!(note(at("127.0.0.1", port)), None, "it takes both families");
        }
    }
}
