//! The page of a program's figures, served while it works.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::family;
use super::figures::Figures;
use crate::serve::{Answer, Request, start};
use crate::{ListenError, Listening};

/// What the text format calls itself.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves what was published last.
#[derive(Debug)]
pub struct Exporter {
    published: Arc<Mutex<Arc<Figures>>>,
    address: SocketAddr,
}

impl Exporter {
    /// Begins to serve the figures of `program`, on a thread of its own in which `open` is called.
    ///
    /// # Errors
    /// Those of `open`; EAGAIN where no thread may be started.
    pub fn start(
        program: &'static str,
        open: impl FnOnce() -> Result<Listening, ListenError> + Send + 'static,
    ) -> Result<Self, ListenError> {
        let published = Arc::<Mutex<Arc<Figures>>>::default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shown = Arc::clone(&published);
        let address = start("metrics", open, move |request: &Request<'_>| {
            answer(program, request, || page_of(program, since, latest(&shown)))
        })?;
        Ok(Self { published, address })
    }

    /// Where it is served.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// These figures are served from now on.
    pub fn publish(&self, figures: Figures) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(figures);
    }
}

fn latest(published: &Mutex<Arc<Figures>>) -> Figures {
    let shared = Arc::clone(&published.lock().unwrap_or_else(PoisonError::into_inner));
    Figures::clone(&shared)
}

fn answer(program: &str, request: &Request<'_>, page: impl FnOnce() -> Answer) -> Answer {
    match request.path {
        "/metrics" => page(),
        "/" => Answer::words(format!("{program}: its figures are at /metrics\n")),
        _ => Answer::not_found("nothing is here but /metrics\n".to_owned()),
    }
}

/// The page of these figures of `program`, which was started so long after 1970.
#[must_use]
pub fn page_of(program: &str, since: Duration, mut figures: Figures) -> Answer {
    figures.count(&family::BUILD_INFO, &[program, env!("CARGO_PKG_VERSION")], 1);
    figures.measure(&family::START_TIME, &[], since.as_secs_f64());
    Answer::document(MEDIA_TYPE, figures.text())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("connected");
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("asked");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("answered");
        said
    }

    #[test]
    fn what_was_published_last_is_served_with_the_program_and_its_version() {
        let open = || Listening::open("0".parse().expect("an address"), "metrics");
        let exporter = Exporter::start("c10k-test", open).expect("it serves");
        let build =
            concat!("c10k_build_info{program=\"c10k-test\",version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n");
        assert!(get(exporter.address, "/metrics").contains(build));
        for count in [1, 2] {
            let mut figures = Figures::default();
            figures.count(&family::SOCKETS, &[], count);
            exporter.publish(figures);
            let page = get(exporter.address, "/metrics");
            assert!(page.contains(&format!("\nc10k_sockets_in_use {count}\n")), "{page}");
            assert!(page.contains(&format!("Content-Type: {MEDIA_TYPE}\r\n")), "{page}");
        }
        assert!(get(exporter.address, "/").contains("c10k-test: its figures are at /metrics"));
        assert!(get(exporter.address, "/metric").starts_with("HTTP/1.1 404 "));
        assert!(exporter.url().ends_with("/metrics"));
    }
}
