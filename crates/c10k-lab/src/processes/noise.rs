//! What is there before the first connection of the swarm.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use c10k_kernel::socket::set_bind_address_no_port;
use c10k_plan::stage::{Noise, Stage};
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

/// Makes the noise towards a server that is ready. What it returns must live as long as the run.
pub(crate) fn make_noise(stage: &Stage, servers: &[SocketAddr]) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let Some(&server) = servers.first() else { return Ok(sockets) };
    for noise in &stage.noise {
        match *noise {
            Noise::DeafListener(at) => {
                let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
                listener.set_reuse_address(true)?;
                listener.bind(&at.into())?;
                listener.attach_filter(&NOTHING_PASSES)?;
                listener.listen(16)?;
                sockets.push(listener);
            }
            Noise::HalfOpen(count) => {
                for _ in 0..count {
                    let client = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
                    client.set_nonblocking(true)?;
                    client.attach_filter(&NOTHING_PASSES)?;
                    match client.connect(&server.into()) {
                        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                            return Err(error);
                        }
                        _ => sockets.push(client),
                    }
                }
            }
            Noise::Closed { source, count } => close_first(source, server, count)?,
        }
    }
    Ok(sockets)
}

/// A classic BPF program that keeps 0 bytes of every packet: `ret #0` (socket(7), SO_ATTACH_FILTER).
const NOTHING_PASSES: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// A port in TIME_WAIT may be reused after a second where `tcp_tw_reuse` allows it (`tcp_tw_reuse_delay`).
const REUSABLE: Duration = Duration::from_millis(1100);

/// Opens `count` connections and closes each before the server does, so that TIME_WAIT is here.
fn close_first(source: IpAddr, server: SocketAddr, count: u32) -> io::Result<()> {
    let open = |_| -> io::Result<Socket> {
        let client = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        // The port is chosen by connect(), for this destination alone.
        set_bind_address_no_port(client.as_fd())?;
        client.bind(&SocketAddr::new(source, 0).into())?;
        client.connect_timeout(&SockAddr::from(server), Duration::from_secs(5))?;
        Ok(client)
    };
    let clients: Vec<Socket> = (0..count).map(open).collect::<io::Result<_>>()?;
    drop(clients);
    std::thread::sleep(REUSABLE);
    Ok(())
}
