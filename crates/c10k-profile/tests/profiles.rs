//! Profiles as text: what is understood, what extends what, and what a faulty text is told.

use std::path::Path;

use c10k_profile::{Keepalive, Linger, NofileLimit, Profile, ProfileError, SocketOptions, SysctlValue};

fn text_error(text: &str) -> String {
    match Profile::from_text(text) {
        Err(ProfileError::Text { message, .. }) => message,
        other => panic!("expected an error of the text, got {other:?}"),
    }
}

fn with_head(rest: &str) -> String {
    format!("name = \"x\"\nsummary = \"of a test\"\n{rest}")
}

#[track_caller]
fn write(folder: &Path, name: &str, rest: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, with_head(rest)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_shipped_profile_loads_under_its_own_name_and_gives_reasons() {
    let names: Vec<&str> = Profile::shipped().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["stock", "tuned", "diary", "c1m"]);
    for (name, text) in Profile::shipped() {
        let profile = Profile::load(name).unwrap();
        assert_eq!(profile.name, *name);
        assert!(!profile.summary.is_empty());
        assert_reasons_stand_above(name, text);
    }
}

/// A run of settings without an empty line between may share one comment.
fn assert_reasons_stand_above(name: &str, text: &str) {
    let mut above = "";
    let mut reason_seen = false;
    for line in text.lines() {
        let is_setting = line.contains(" = ") && !line.starts_with('#');
        let is_head = ["name", "summary", "extends"].iter().any(|head| line.starts_with(head));
        if line.starts_with('#') {
            reason_seen = true;
        } else if !is_setting {
            reason_seen = false;
        }
        assert!(!is_setting || is_head || reason_seen, "{name}: no reason above `{line}` (above: `{above}`)");
        above = line;
    }
}

#[test]
fn stock_changes_nothing() {
    let stock = Profile::load("stock").unwrap();
    assert!(stock.sysctl.is_empty());
    assert_eq!(stock.limits.nofile, None);
    assert_eq!(stock.socket, SocketOptions::default());
}

#[test]
fn a_profile_takes_in_what_it_extends_and_says_more() {
    let c1m = Profile::load("c1m").unwrap();
    assert_eq!(c1m.extends, ["tuned"]);
    assert_eq!(c1m.limits.nofile, Some(NofileLimit::Hard), "from tuned");
    assert_eq!(c1m.socket.backlog, Some(65_535), "its own");
    assert_eq!(c1m.sysctl["net.ipv4.ip_local_port_range"].value, SysctlValue::Integers(vec![1024, 65_535]));
    assert_eq!(c1m.sysctl["net.core.somaxconn"].value, SysctlValue::Integers(vec![65_535]));
    assert!(c1m.sysctl["net.ipv4.tcp_migrate_req"].optional, "from tuned");
}

#[test]
fn a_resolved_profile_written_as_text_is_the_same_profile() {
    for (name, _) in Profile::shipped() {
        let profile = Profile::load(name).unwrap();
        let again = Profile::from_text(&profile.to_toml()).unwrap();
        assert_eq!(
            (&again.name, &again.limits, &again.namespace, &again.sysctl, &again.socket),
            (&profile.name, &profile.limits, &profile.namespace, &profile.sysctl, &profile.socket)
        );
    }
}

#[test]
fn the_settings_of_a_profile_one_by_one_are_the_whole_of_it() {
    for (name, _) in Profile::shipped() {
        let profile = Profile::load(name).unwrap();
        let mut text = "name = 'x'\nsummary = 'x'\n".to_owned();
        // A table of TOML may be given in parts when its keys are whole.
        for (table, key, value) in profile.settings() {
            text.push_str(&format!("{table}.'{key}' = {value}\n"));
        }
        let again = Profile::from_text(&text).unwrap();
        assert_eq!(
            (again.limits, again.namespace, again.sysctl, again.socket),
            (profile.limits, profile.namespace, profile.sysctl, profile.socket)
        );
    }
}

#[test]
fn a_file_extends_a_shipped_profile_or_a_file_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "base/base.toml", "extends = 'tuned'\n[socket]\nnodelay = true");
    let path = write(
        folder.path(),
        "top.toml",
        "extends = 'base/base.toml'\n[sysctl]\n'net.core.somaxconn' = 77\n[socket]\nlinger_secs = 'reset'",
    );
    let top = Profile::load(&path).unwrap();
    assert_eq!(top.extends, ["x", "tuned"]);
    assert_eq!(top.socket.nodelay, Some(true));
    assert_eq!(top.socket.linger, Some(Linger::Reset));
    assert_eq!(top.socket.backlog, Some(16_384));
    assert_eq!(top.sysctl["net.core.somaxconn"].value, SysctlValue::Integers(vec![77]));
}

#[test]
fn a_circle_is_an_error_that_shows_the_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.toml", "extends = 'sub/b.toml'");
    write(folder.path(), "sub/b.toml", "extends = '../a.toml'");
    let error = Profile::load(&path).unwrap_err();
    assert!(matches!(error, ProfileError::Circular { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("a.toml extends ") && message.contains("b.toml extends "), "{message}");
    let own = write(folder.path(), "own.toml", "extends = 'own.toml'");
    assert!(matches!(Profile::load(&own).unwrap_err(), ProfileError::Circular { .. }));
}

#[test]
fn what_is_extended_and_missing_is_named_with_the_way_to_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.toml", "extends = './gone.toml'");
    let path = write(folder.path(), "a.toml", "extends = 'b.toml'");
    let message = Profile::load(&path).unwrap_err().to_string();
    assert!(
        message.contains("gone.toml, which cannot be read") && message.contains("a.toml extends "),
        "{message}"
    );
    let path = write(folder.path(), "c.toml", "extends = 'turned'");
    let error = Profile::load(&path).unwrap_err();
    assert!(error.to_string().contains("`turned`, which is no shipped profile"), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn an_unknown_name_is_told_the_names_there_are() {
    let error = Profile::load("tunde").unwrap_err();
    assert!(error.to_string().contains("stock, tuned, diary, c1m"), "{error}");
    let error = Profile::load("/nowhere/x.toml").unwrap_err();
    assert!(matches!(error, ProfileError::Unreadable { .. }), "{error}");
    assert!(matches!(Profile::load("/tmp/").unwrap_err(), ProfileError::Unreadable { .. }));
}

#[test]
fn an_unknown_field_is_shown_with_line_and_caret_and_what_was_expected() {
    let message = text_error(&with_head("[socket]\nbaklog = 5"));
    assert!(message.contains("line 4, column 1"), "{message}");
    assert!(message.contains("baklog = 5") && message.contains("^^^^^^"), "{message}");
    assert!(message.contains("expected one of") && message.contains("backlog"), "{message}");
    for faulty in ["colour = 1", "[limits]\nnofiles = 5", "[sockets]\nbacklog = 1"] {
        assert!(text_error(&with_head(faulty)).contains('^'), "{faulty}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_where_it_stands() {
    for (faulty, expected) in [
        ("[sysctl]\n'net.core.somaxconn' = 1.5", "expected an integer"),
        ("[sysctl]\n'net.core.somaxconn' = true", "expected an integer"),
        ("[sysctl]\n'net.core.somaxconn' = '4096'", "written as a string"),
        ("[sysctl]\n'net.ipv4.tcp_rmem' = '4096 131072 6291456'", "written as a string"),
        ("[sysctl]\n'net.ipv4.tcp_rmem' = [4096, 8192]", "expected 3 integers"),
        ("[sysctl]\n'net.ipv4.tcp_rmem' = [4096, 16384, 8192]", "ascending"),
        ("[sysctl]\n'net.ipv4.tcp_rmem' = [4096, 'a', 8192]", "invalid type"),
        ("[sysctl]\n'net.core.somaxconn' = 010", "^"),
        ("[sysctl]\n'net.core.somaxconn' = { value = 1, optonal = true }", "optonal"),
        ("[sysctl]\n'net.core.somaxconn' = { optional = true }", "value"),
        ("[sysctl]\nnet.core.somaxconn = 1", "in quotes"),
        ("[sysctl]\n'net/core/somaxconn' = 1", "dots between"),
        ("[limits]\nnofile = 'all'", "\"hard\", or an integer"),
        ("[limits]\nnofile = 0", "\"hard\", or an integer"),
        ("[limits]\nnofile = 2000000000", "\"hard\", or an integer"),
        ("[socket]\nbacklog = 0", "from 1 to"),
        ("[socket]\nlinger_secs = 0", "\"reset\""),
        ("[socket]\nlinger_secs = 'rst'", "\"reset\""),
        ("[socket]\nkeepalive = { idle_secs = 1, interval_secs = 1, probes = 200 }", "from 1 to 127"),
        ("[socket]\nkeepalive = { idle_secs = 1 }", "interval_secs"),
    ] {
        let message = text_error(&with_head(faulty));
        assert!(message.contains(expected), "{faulty}\n{message}");
        assert!(message.contains("line 4") && message.contains('^'), "{faulty}\n{message}");
    }
}

#[test]
fn a_profile_without_a_name_or_with_one_that_leads_out_of_a_folder_is_refused() {
    assert!(text_error("summary = 's'").contains("missing field `name`"));
    for name in ["../x", "", "a/b", ".hidden", "a b"] {
        assert!(text_error(&format!("name = '{name}'\nsummary = 's'")).contains("is no name"), "{name}");
    }
}

#[test]
fn socket_options_are_read_in_full() {
    let options = Profile::from_text(&with_head(
        "[socket]\nbacklog = 5\nrcvbuf_bytes = 4096\nsndbuf_bytes = 8192\nnodelay = false\nlinger_secs = 3\n\
         user_timeout_ms = 900\nkeepalive = { idle_secs = 60, interval_secs = 10, probes = 3 }",
    ))
    .unwrap()
    .socket;
    assert_eq!(
        options,
        SocketOptions {
            backlog: Some(5),
            rcvbuf_bytes: Some(4096),
            sndbuf_bytes: Some(8192),
            nodelay: Some(false),
            keepalive: Some(Keepalive { idle_secs: 60, interval_secs: 10, probes: 3 }),
            linger: Some(Linger::Secs(3)),
            user_timeout_ms: Some(900),
        }
    );
    assert_eq!(options.named().len(), 7);
}
