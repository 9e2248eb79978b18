//! Servers of other people that several files of tests start.

use std::fmt::Write as _;

use super::{LAB, Net};

/// Echoes on port 9000 of the address that it is given; others may listen on that port at another one.
pub(crate) const ECHO: &str = r#"
import asyncio, socket, sys

async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass

async def main():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((sys.argv[1], 9000))
    server = await asyncio.start_server(serve, sock=sock, backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"#;

/// nginx on port 9000, before a WebSocket server of ours on port 9001.
pub(crate) struct Nginx {
    pub(crate) workers: u32,
    /// For each worker, those to what is behind it included.
    pub(crate) connections: u32,
    /// Further directives of `http` and of `location`.
    pub(crate) http: &'static str,
    pub(crate) location: &'static str,
}

impl Nginx {
    pub(crate) const fn new(workers: u32, connections: u32) -> Self {
        Self { workers, connections, http: "", location: "" }
    }

    /// Starts both; the folder is nginx's own.
    pub(crate) fn start(&self, net: &mut Net) -> tempfile::TempDir {
        let Self { workers, connections, http, location } = self;
        net.start(&[LAB, "server", "--listen", "127.0.0.1:9001", "--protocol", "ws"]);
        net.await_listener(9001);
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display().to_string();
        let mut temporary = String::new();
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(temporary, " {name}_temp_path {place}/{name};");
        }
        let conf = format!(
            "user root;\ndaemon off;\nworker_processes {workers};\npid {place}/pid;\nevents {{ worker_connections \
             {connections}; }}\nhttp {{\n access_log off;\n{temporary} {http}\n server {{ listen 127.0.0.1:9000 \
             backlog=1024; location / {{ {location} proxy_pass http://127.0.0.1:9001; proxy_http_version 1.1; \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}\n}}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), conf).expect("written");
        net.start(&["nginx", "-p", &place, "-c", "nginx.conf", "-e", "error.log"]);
        net.await_listener(9000);
        folder
    }
}
