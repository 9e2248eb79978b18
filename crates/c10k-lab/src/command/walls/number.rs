//! `c10k-lab walls 28232`: where a number most likely comes from, and how to prove it.

use c10k_ceiling::{Fingerprint, Said, read_number};
use c10k_plan::say::printer::Printer;
use c10k_record::{Exit, HostSnapshot};
use serde_json::json;

use super::paragraph::paragraph;

/// What a number may come from.
pub(super) fn explain(
    (typed, said): (&str, &Said),
    host: &HostSnapshot,
    as_json: bool,
    printer: &mut Printer,
) -> Exit {
    let found = read_number(said, host);
    if as_json {
        let rows: Vec<_> = found
            .iter()
            .map(|one| json!({ "walls": one.walls, "is": one.is, "prove": one.prove, "of_this_host": one.of_this_host }))
            .collect();
        printer.data(&json!({ "number": said.number(), "causes": rows }).to_string());
        return if found.is_empty() { Exit::BadText } else { Exit::Done };
    }
    let Some(first) = found.first() else {
        let has_words = typed.contains(|c: char| c.is_alphabetic()) && said.is_exact();
        let whose = match has_words {
            true => format!("'{typed}' is no error that a wall is known to cause, and "),
            false => String::new(),
        };
        printer.error(
            &format!("{whose}{} is no number that I know", said.words()),
            Some(
                "`c10k-lab doctor` says where this host's walls stand; a number that moves between runs is no limit: see \
                 `nstat -az`",
            ),
        );
        return Exit::BadText;
    };
    let mut text = format!("{}: most likely {}\n", said.words(), name(first));
    text.push_str(&guess(first));
    for other in &found[1..] {
        text.push_str(&format!("\nor {}\n", name(other)));
        text.push_str(&guess(other));
    }
    printer.data(&text);
    if let Some(wall) = first.walls.first() {
        printer.say(&format!("hint: `c10k-lab walls {wall}` explains it and says what lifts it"));
    }
    Exit::Done
}

fn name(guess: &Fingerprint) -> &'static str {
    guess.walls.first().copied().unwrap_or("a limit of another system")
}

fn guess(guess: &Fingerprint) -> String {
    let mut text = paragraph("where from", &guess.is);
    text.push_str(&paragraph("how to prove", &guess.prove));
    if guess.walls.len() > 1 {
        text.push_str(&paragraph("see also", &guess.walls[1..].join(", ")));
    }
    text
}
