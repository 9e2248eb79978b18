//! A rule of nftables in the calling thread's network namespace that drops packets, by nfnetlink: no program is needed.

use std::io;

use crate::conntrack::{Hook, REGISTER, expression, rules};
use crate::nfnetlink::{attribute, nested};

/// Drops what comes in over TCP to this port, as a firewall does that says nothing. The rule stays as long as the
/// namespace.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns this one; EPROTONOSUPPORT, EINVAL or ENOENT in a kernel
/// without nf_tables.
pub fn drop_incoming(port: u16) -> io::Result<()> {
    const FILTER: i32 = 0;
    let all = [
        protocol_into_register(),
        equals(&[TCP]),
        port_into_register(),
        equals(&port.to_be_bytes()),
        drop_it(),
    ];
    rules(&[("dropped", Hook::In, FILTER, &all.concat())])
}

/// include/uapi/linux/in.h.
const TCP: u8 = 6;

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// `meta l4proto`: NFTA_META_DREG 1, NFTA_META_KEY 2 (NFT_META_L4PROTO 16).
fn protocol_into_register() -> Vec<u8> {
    expression("meta", &[number(1, REGISTER), number(2, 16)])
}

/// The destination port: NFTA_PAYLOAD_DREG 1, BASE 2 (NFT_PAYLOAD_TRANSPORT_HEADER 2), OFFSET 3, LEN 4.
fn port_into_register() -> Vec<u8> {
    expression("payload", &[number(1, REGISTER), number(2, 2), number(3, 2), number(4, 2)])
}

/// NFTA_CMP_SREG 1, OP 2 (NFT_CMP_EQ 0), DATA 3 with NFTA_DATA_VALUE 1.
fn equals(value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, REGISTER), number(2, 0), nested(3, &[attribute(1, value)])])
}

/// NFTA_IMMEDIATE_DREG 1 (NFT_REG_VERDICT 0), DATA 2 with NFTA_DATA_VERDICT 2 with NFTA_VERDICT_CODE 1 (NF_DROP 0).
fn drop_it() -> Vec<u8> {
    expression("immediate", &[number(1, 0), nested(2, &[nested(2, &[number(1, 0)])])])
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::address;
    use crate::namespace::Beside;

    #[test]
    fn what_comes_to_the_port_is_dropped_and_what_comes_to_another_is_not() {
        let beside = match Beside::new() {
            Ok(beside) => beside,
            Err(error) => return skipped(&format!("no network namespace can be made: {error}")),
        };
        let tried = beside.inside(|| {
            address::set_up("lo")?;
            let listen = || TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
            let (deaf, open) = (listen()?, listen()?);
            let at = (deaf.local_addr()?, open.local_addr()?);
            drop_incoming(at.0.port())?;
            let connect = |at| TcpStream::connect_timeout(&at, Duration::from_millis(300)).map(drop);
            Ok::<_, io::Error>((connect(at.0).map_err(|error| error.kind()), connect(at.1).is_ok()))
        });
        match tried.expect("a thread inside") {
            Ok(seen) => assert_eq!(seen, (Err(io::ErrorKind::TimedOut), true)),
            Err(error) => skipped(&format!("this kernel has no nf_tables: {error}")),
        }
    }

    #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
    fn skipped(why: &str) {
        eprintln!("SKIPPED: {why}");
    }
}
