//! The kernel's counters, by the names of nstat(8) and the words of `netstat -s`: net/ipv4/proc.c says what counts where.

use super::phrases::Phrase;
use super::text::Text;

const LISTENER: &[&str] = &["accept-queue", "syn-queue"];
const SYN_QUEUE: &[&str] = &["syn-queue", "accept-queue"];
const OUT_OF_MEMORY: &[&str] = &["orphans", "tcp-mem"];
const SLOW_READER: &[&str] = &["socket-buffer"];
const NOT_ACKNOWLEDGED: &[&str] = &["path-lost", "middlebox-forgets", "server-died"];

/// Names are divided where a capital follows a small letter, as all words are.
pub(super) static COUNTERS: &[Phrase] = &[
    ("listen overflows", &["accept-queue"]),
    ("listen drops", LISTENER),
    ("syns to listen sockets dropped|ignored", LISTENER),
    ("tcpreq qfull drop|do", &["syn-queue"]),
    ("drop open request", &["syn-queue"]),
    ("syncookies sent|recv|failed", SYN_QUEUE),
    ("syn cookies sent|received", SYN_QUEUE),
    ("tcptime wait overflow", &["time-wait-buckets"]),
    ("tcpmemory pressures", &["tcp-mem"]),
    ("ran low on memory", &["tcp-mem"]),
    ("tcpabort on memory", OUT_OF_MEMORY),
    ("aborted|dropped due to memory", OUT_OF_MEMORY),
    ("tcpabort on timeout", NOT_ACKNOWLEDGED),
    ("aborted due to timeout", NOT_ACKNOWLEDGED),
    ("tcpsyn retrans", &["accept-queue", "syn-queue", "firewall-drop", "conntrack", "path-loss"]),
    ("ipreverse|reverse path filter", &["rp-filter"]),
    ("out|in no routes", &["no-route"]),
    ("because of missing route", &["no-route"]),
    ("table fulls", &["neighbour-table"]),
    ("insert failed . drop & early drop", &["conntrack"]),
    ("softnet . dropped", &["netdev-backlog"]),
    // What belongs to one socket, and is taken for the queue of the listener.
    ("tcpbacklog drop", SLOW_READER),
    ("tcprcv qdrop", SLOW_READER),
    ("prune called", SLOW_READER),
    ("rcv|ofo pruned", SLOW_READER),
    ("packets pruned|collapsed", SLOW_READER),
];

/// What is meant by the first counter in a text that has counted something: one that stands at 0 says that it was not that.
pub(super) fn counted(text: &Text) -> Option<&'static [&'static str]> {
    let is_zero = |pattern: &str| {
        // The message's fixed words, up to where others may stand between.
        let name = pattern.split(" .").next().unwrap_or(pattern);
        text.has(&format!("{name} 0")) || text.has(&format!("^ 0 {name}"))
    };
    COUNTERS.iter().find(|(pattern, _)| text.has(pattern) && !is_zero(pattern)).map(|(_, answers)| *answers)
}
