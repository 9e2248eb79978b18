//! Lines that a person pastes into a shell (sh(1), section "Quoting").

/// A word of a shell's line: as it is where that means the same, else quoted. No command line has a NUL.
#[must_use]
pub fn quoted(word: &str) -> String {
    shlex::Quoter::new()
        .allow_nul(true)
        .quote(word)
        .map_or_else(|_| apostrophes(word), std::borrow::Cow::into_owned)
}

/// A word between apostrophes, whatever is in it.
#[must_use]
pub fn apostrophes(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Words as one line.
#[must_use]
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The words of a command without these flags. `--flag VALUE` goes with its value, `--flag=VALUE` at once; one of which
/// `takes_value` is false goes alone.
#[must_use]
pub fn without(words: &[String], flags: &[(&str, bool)]) -> Vec<String> {
    let mut left = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        match flags.iter().find(|(flag, _)| *flag == name) {
            Some((_, true)) if name.len() == word.len() => {
                words.next();
            }
            Some(_) => {}
            None => left.push(word.clone()),
        }
    }
    left
}

/// The words that this process was started with, the program by its name alone.
#[must_use]
pub fn own_command() -> Vec<String> {
    named(std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect())
}

/// A command whose program is called by its name alone: it is to be found where it was, and is shorter to read.
#[must_use]
pub fn named(mut words: Vec<String>) -> Vec<String> {
    if let Some(program) = words.first_mut()
        && let Some((_, name)) = program.rsplit_once('/')
    {
        *program = name.to_owned();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_shell_reads_every_word_as_it_was() {
        let awkward = ["", "a b", "it's", "'; touch x; '", "$HOME", "`id`", "a\"b", "*", "a\nb", "--x=1"];
        let script = format!("printf '%s\\0' {}", line(&words(&awkward)));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let read: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let expected: Vec<&[u8]> = awkward.iter().map(|word| word.as_bytes()).chain([&b""[..]]).collect();
        assert_eq!(read, expected);
        assert_eq!(line(&words(&["c10k-swarm", "--ips", "127.0.0.1-4"])), "c10k-swarm --ips 127.0.0.1-4");
    }

    #[test]
    fn flags_go_with_their_values_and_nothing_else_does() {
        let given = words(&["swarm", "--ips", "a", "--target=5", "--no-probe", "--header", "X: --ips", "x"]);
        let left = without(&given, &[("--ips", true), ("--target", true), ("--no-probe", false)]);
        assert_eq!(left, words(&["swarm", "--header", "X: --ips", "x"]));
        assert_eq!(without(&given, &[]), given);
    }

    #[test]
    fn a_program_is_called_by_its_name() {
        assert_eq!(named(words(&["/usr/bin/c10k-lab", "run"])), words(&["c10k-lab", "run"]));
        assert_eq!(named(Vec::new()), Vec::<String>::new());
    }
}
