//! The figures that are read first.

use c10k_record::{
    Degree, MemoryPerConnection, PhaseKind, Record, RunState, UNKNOWN, Worked, count, human_count, latency,
    number, percent, with_unit,
};
use maud::{Markup, html};

/// One figure: its name, its value, a few words below it.
type Tile = (String, String, String);

pub(super) fn tiles(record: &Record) -> Markup {
    let mut tiles = vec![held(record)];
    tiles.extend(record.work.iter().take(3).flat_map(of_work));
    tiles.extend(memory(&record.memory_per_connection));
    tiles.extend([connects(record), echo(record), wall(record)]);
    shown(&tiles)
}

pub(super) fn shown(tiles: &[Tile]) -> Markup {
    html! {
        ul.tiles {
            @for (name, value, words) in tiles {
                li { span.name { (name) } span.value { (value) } span.sub { (words) } }
            }
        }
    }
}

fn tile(name: &str, value: impl Into<String>, words: impl Into<String>) -> Tile {
    (name.to_owned(), value.into(), words.into())
}

fn held(record: &Record) -> Tile {
    let c = &record.connections;
    let of = format!("of {} asked for", human_count(c.target));
    match record.state {
        RunState::Unfinished | RunState::Aborted => {
            tile("open", count(c.open.or(Some(c.established))), format!("when last seen, {of}"))
        }
        RunState::Complete | RunState::Broken => {
            let ghosts = c.ghosts.filter(|ghosts| *ghosts > 0);
            let ghosts =
                ghosts.map_or_else(String::new, |ghosts| format!("; {} ghosts", human_count(ghosts)));
            tile(c.word_for_held(), human_count(c.held), format!("{of}{ghosts}"))
        }
    }
}

fn memory(m: &MemoryPerConnection) -> [Tile; 2] {
    let of = |user: Option<f64>, kernel: Option<f64>| {
        let all = user.zip(kernel).map(|(user, kernel)| user + kernel);
        let parts =
            format!("{} in user space, {} in the kernel", with_unit(user, "B"), with_unit(kernel, "B"));
        let parts = if user.or(kernel).is_none() { "not measured".to_owned() } else { parts };
        (with_unit(all, "B"), parts)
    };
    let (server, of_server) = of(m.server_user_bytes, m.server_kernel_bytes);
    let (client, of_client) = of(m.client_user_bytes, m.client_kernel_bytes);
    [
        tile("a connection at the server", server, of_server),
        tile("a connection at the client", client, of_client),
    ]
}

fn connects(record: &Record) -> Tile {
    let rate = &record.rate.connects_per_second;
    let best = rate.peak.map_or_else(String::new, |peak| format!("at best {}", number(Some(peak))));
    tile("connects a second", number(rate.mean), best)
}

fn echo(record: &Record) -> Tile {
    let l = &record.latency_us;
    if l.echo.count > 0 {
        return tile(
            "echo p99",
            latency(l.echo.p99),
            format!("at the end of the hold, p50 {}", latency(l.echo.p50)),
        );
    }
    let words =
        if l.first_echo.count > 0 { "the first echo of each connection" } else { "no echo was measured" };
    tile("echo p99", latency(l.first_echo.p99), words)
}

fn wall(record: &Record) -> Tile {
    if let Some(ceiling) = &record.ceiling {
        let degree = match ceiling.degree.or_else(|| ceiling.walls.first().and_then(|wall| wall.degree)) {
            Some(Degree::Proven) => "proven",
            Some(Degree::Likely) => "likely",
            Some(Degree::Unknown) => "nothing that was seen proves one",
            None if ceiling.walls.is_empty() => "nothing that was seen proves one",
            None => "",
        };
        return tile("wall", ceiling.wall.clone(), degree);
    }
    match &record.wall_ahead {
        Some(ahead) => {
            let about = if ahead.uncertainty_percent == 0 { "" } else { "about " };
            tile("nearest wall", format!("{about}{}", human_count(ahead.connections)), ahead.wall.clone())
        }
        None => tile("nearest wall", UNKNOWN, "none was met, and none is known ahead"),
    }
}

fn of_work(work: &Worked) -> Vec<Tile> {
    let name = |what: &str| format!("{}: {what}", work.name);
    if let Some(stream) = &work.stream {
        let share = (stream.viewers > 0).then(|| stream.stalled_viewers as f64 / stream.viewers as f64);
        return vec![(
            name("viewers that stalled"),
            human_count(stream.stalled_viewers),
            format!("{} of {}", percent(share), human_count(stream.viewers)),
        )];
    }
    if let Some(fanout) = &work.fanout {
        let last = &fanout.last_receiver_us;
        let words = format!("p50 {}, of {} receivers", latency(last.p50), human_count(fanout.receivers));
        return vec![(name("last receiver p99"), latency(last.p99), words)];
    }
    if let Some(churn) = &work.churn {
        let words =
            format!("{} came and went, {} lost", human_count(churn.reopened), human_count(churn.failed));
        return vec![(name("cycles a second"), number(churn.cycles_per_second), words)];
    }
    if work.kind == PhaseKind::Hold && work.messages_sent == 0 {
        return Vec::new();
    }
    let late = work.lateness_us.as_ref().and_then(|late| late.p99);
    let late =
        late.map_or_else(String::new, |us| format!("; the swarm's own lateness p99 {}", latency(Some(us))));
    let words = format!("{} messages a second{late}", number(work.messages_per_second));
    vec![(name("response p99"), latency(work.response_us.p99), words)]
}
