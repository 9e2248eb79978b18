//! What a connection cost.

use c10k_record::{EndHost, MemoryPerConnection, Record, human_count, percent, with_unit};

use super::{Section, cells, left, line, right};

pub(super) fn section(record: &Record) -> Section {
    let m = &record.memory_per_connection;
    let bytes = |value| right(with_unit(value, "B"));
    let row = |name: &str, server, client, words: &str| {
        cells(vec![left(name), bytes(server), bytes(client), left(words)])
    };
    let mut rows = vec![
        row("user memory", m.server_user_bytes, m.client_user_bytes, "growth of RSS"),
        row("kernel memory", m.server_kernel_bytes, m.client_kernel_bytes, ""),
    ];
    let sum = |user: Option<f64>, kernel: Option<f64>| Some(user? + kernel?);
    let server = sum(m.server_user_bytes, m.server_kernel_bytes);
    let client = sum(m.client_user_bytes, m.client_kernel_bytes);
    let both = format!("{} for both ends", with_unit(sum(server, client), "B"));
    rows.push(row("together", server, client, &both));
    for (name, part) in &m.parts {
        let words = if part.estimated { "estimated from known object sizes" } else { "" };
        rows.push(row(&format!("  {name}"), part.server_bytes, part.client_bytes, words));
    }
    if let Some(open) = m.connections.filter(|open| *open != record.connections.held) {
        let open = human_count(open);
        rows.push(line(format!(
            "Divided by the {open} that were open when memory was looked at in the hold."
        )));
    }
    match &record.two_hosts {
        None => rows.push(line(format!("Free memory fell by {}.", fall(m)))),
        // Each closes by itself.
        Some(two) => {
            let each = |whose: &str, end: &EndHost| {
                line(format!("{whose} host: free memory fell by {}.", fall(&end.memory_per_connection)))
            };
            rows.extend([each("Server's", &two.server), each("Clients'", &two.client)]);
        }
    }
    if m.estimated {
        rows.push(line("The kernel's slabs could not be read: parts stand on known object sizes."));
    }
    Section::table("Cost of a connection", &["", "server", "client", ""], rows)
}

/// By how much a host's free memory fell, and how much of that no part explains.
fn fall(account: &MemoryPerConnection) -> String {
    let free = with_unit(account.free_memory_bytes, "B");
    format!("{free} a connection; unexplained of that: {}", percent(account.unexplained_ratio))
}
