//! Faults that are put into a page on purpose: each is found, under its name, and what only looks like one is not.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::chromium::browser;
use crate::page::{Look, Page, View};

const PHONE: View = View::new(360, Look::Light);
const SCREEN: View = View::new(1600, Look::Light);
const DARK: View = View::new(1600, Look::Dark);
const PAPER: View = View::new(718, Look::Print);

/// A host that nobody has (RFC 2606).
const NOWHERE: &str = "http://planted.invalid";

/// A page with this in its head and body, in a file of its own.
fn page_with(head: &str, body: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("page.html");
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{head}\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>planted</title>\
         <style>:root {{ color-scheme: light dark }} body {{ font: 16px/1.5 sans-serif }}</style></head>\
         <body><h1>A page</h1>{body}</body></html>"
    );
    std::fs::write(&file, text).expect("written");
    (folder, file)
}

/// What is found in a page with this in its body.
#[track_caller]
fn found(page: &mut Page<'_>, body: &str, view: View) -> Vec<String> {
    let (_folder, file) = page_with("", body);
    page.open(&file, view);
    page.findings(view)
}

/// Asserts that this fault is found and no other.
#[track_caller]
fn expect_found(page: &mut Page<'_>, kind: &str, words: &str, body: &str, view: View) {
    let findings = found(page, body, view);
    let is_it = |finding: &String| finding.starts_with(&format!("{kind}: ")) && finding.contains(words);
    assert!(findings.iter().any(is_it), "no '{kind}' with '{words}' in {findings:#?}\n{body}");
    let of_other_kinds = findings.iter().filter(|finding| !finding.starts_with(&format!("{kind}: ")));
    assert_eq!(of_other_kinds.collect::<Vec<_>>(), [] as [&String; 0], "{body}");
}

#[test]
fn texts_that_overlap_are_found() {
    let Some(browser) = browser("planted overlaps") else { return };
    let mut page = Page::new(browser);
    for body in [
        "<p>under it all</p><p style='margin-top:-2.2em'>over it all</p>",
        "<p style='line-height:.4;padding:1em 0'>one line<br>and another line</p>",
        "<svg width=300 height=60><text x=10 y=30 fill=CanvasText>ramp</text><text x=25 y=34 fill=CanvasText>hold</text></svg>",
        // Folded away at first.
        "<details><summary>more</summary><p>one</p><p style='margin-top:-2.2em'>two</p></details>",
    ] {
        expect_found(&mut page, "overlap", "", body, SCREEN);
    }
}

#[test]
fn a_text_that_leaves_its_box_is_found() {
    let Some(browser) = browser("planted long texts") else { return };
    let mut page = Page::new(browser);
    let long = "a text that is longer than its box by far";
    for body in [
        format!("<div style='width:5em;white-space:nowrap'>{long}</div>"),
        format!("<div style='width:5em;white-space:nowrap;overflow:hidden'><b>{long}</b></div>"),
        format!(
            "<div style='width:5em;white-space:nowrap;overflow:hidden;text-overflow:ellipsis'>{long}</div>"
        ),
        format!("<div style='height:1em;overflow:hidden'><p style='margin:2em 0'>{long}</p></div>"),
        format!("<svg width=100 height=60><text x=50 y=30 fill=CanvasText>{long}</text></svg>"),
        "<svg width=100 height=60 overflow=visible><text x=10 y=70 fill=CanvasText>below</text></svg>"
            .to_owned(),
        format!("<p style='position:relative;left:-3em'>{long}</p>"),
    ] {
        expect_found(&mut page, "box", "", &body, SCREEN);
    }
    let line = format!("<pre style='overflow-x:auto;width:5em'>{long}</pre>");
    assert_eq!(found(&mut page, &line, SCREEN), [] as [&str; 0], "a line that can be scrolled is no fault");
    expect_found(&mut page, "cut", long.split_at(10).0, &line, PAPER);
}

#[test]
fn a_table_that_scrolls_sideways_is_found_where_the_screen_is_small() {
    let Some(browser) = browser("planted wide tables") else { return };
    let mut page = Page::new(browser);
    let cells = "<td style='white-space:nowrap'>a cell of many words</td>".repeat(5);
    let table = format!("<table><tr>{cells}</tr></table>");
    let scrolled = format!("<div style='overflow-x:auto'>{table}</div>");
    assert_eq!(found(&mut page, &table, SCREEN), [] as [&str; 0]);
    expect_found(&mut page, "table", "scrolls in <div>", &scrolled, PHONE);
    let findings = found(&mut page, &table, PHONE);
    for kind in ["table: ", "page: "] {
        assert!(findings.iter().any(|finding| finding.starts_with(kind)), "no {kind} in {findings:#?}");
    }
}

#[test]
fn a_word_that_falls_to_letters_and_text_too_small_to_read_are_found() {
    let Some(browser) = browser("planted small texts") else { return };
    let mut page = Page::new(browser);
    let narrow = "<div style='width:1.3em;overflow-wrap:anywhere'>descriptors</div>";
    expect_found(&mut page, "column", "descriptors", narrow, SCREEN);
    expect_found(&mut page, "small", "7.0 px", "<p style='font-size:7px'>tiny</p>", SCREEN);
    let plot = "<svg viewBox='0 0 960 200' width='100%'><text x=10 y=90 font-size=11 fill=CanvasText>axis</text></svg>";
    assert_eq!(found(&mut page, plot, SCREEN), [] as [&str; 0]);
    expect_found(&mut page, "small", "axis", plot, PHONE);
}

#[test]
fn low_contrast_is_found_against_what_is_really_behind_the_text() {
    let Some(browser) = browser("planted low contrast") else { return };
    let mut page = Page::new(browser);
    let both = |kind: &str| {
        format!(
            "<svg width=200 height=40><rect width=200 height=40 fill='#333' {kind}/><text x=10 y=25 fill='#222'>bar</text></svg>"
        )
    };
    for body in [
        "<p style='color:#999;background:#fff'>faint</p>",
        "<p style='color:#000;background:#fff;opacity:.4'>faded</p>",
        "<p style='color:rgb(0 0 0 / 40%);background:#fff'>thin</p>",
        "<table><tr style='background:#111'><td style='color:#333'>row</td></tr></table>",
        "<div style='background:#fff'><p style='color:oklch(0.8 0.1 100)'>other colours</p></div>",
        // The left end stands on the bar, the right one beside it.
        "<svg width=200 height=40 style='background:#fff'><rect width=40 height=40 fill='#000'/><text x=10 y=25 fill='#000'>a label</text></svg>",
        "<svg width=200 height=40 style='background:#fff'><path d='M0 20H200' stroke='#111' stroke-width=30 fill='none'/><text x=10 y=25 fill='#000'>band</text></svg>",
        "<div style='background:linear-gradient(#fff,#000)'><p style='color:#777'>shaded</p></div>",
        &both(""),
        &both("pointer-events='none'"),
    ] {
        expect_found(&mut page, "contrast", "", body, SCREEN);
    }
    // What is well to read in the light only.
    let body = "<p style='color:#000'>black</p>";
    assert_eq!(found(&mut page, body, SCREEN), [] as [&str; 0]);
    expect_found(&mut page, "contrast", "black", body, DARK);
    let cover = "<p>read this</p><div style='position:relative;top:-2.6em;height:2em;background:#080'></div>";
    expect_found(&mut page, "covered", "read this", cover, SCREEN);
}

#[test]
fn an_error_in_the_console_is_found() {
    let Some(browser) = browser("planted errors") else { return };
    let mut page = Page::new(browser);
    for (words, body) in [
        ("planted", "<script>console.error('planted')</script>"),
        ("planted", "<script>console.warn('planted')</script>"),
        ("planted", "<script>throw new Error('planted')</script>"),
        ("planted", "<script>Promise.reject(new Error('planted'))</script>"),
    ] {
        expect_found(&mut page, "console", words, body, SCREEN);
    }
    let policy = "<meta http-equiv='Content-Security-Policy' content=\"script-src 'none'\">";
    let (_folder, file) = page_with(policy, "<script>document.title = 'it ran'</script>");
    page.open(&file, SCREEN);
    let findings = page.findings(SCREEN);
    assert!(findings.iter().any(|it| it.contains("Content Security Policy")), "{findings:#?}");
    let quiet = "<script>console.log('all is well')</script>";
    assert_eq!(found(&mut page, quiet, SCREEN), [] as [&str; 0]);
}

#[test]
fn a_request_is_found_and_gets_no_further_than_the_proxy() {
    let Some(browser) = browser("planted requests") else { return };
    let mut page = Page::new(browser);
    for (name, body) in [
        ("image.png", format!("<img alt='' src='{NOWHERE}/image.png'>")),
        ("style.css", format!("<link rel='stylesheet' href='{NOWHERE}/style.css'>")),
        ("fetched", format!("<script>fetch('{NOWHERE}/fetched').catch(() => 0)</script>")),
        ("socket", "<script>new WebSocket('ws://planted.invalid/socket')</script>".to_owned()),
        ("beside.css", "<link rel='stylesheet' href='beside.css'>".to_owned()),
    ] {
        // One that fails is an error in the console too.
        let findings = found(&mut page, &body, SCREEN);
        let is_it = |finding: &String| finding.starts_with("request: ") && finding.contains(name);
        assert!(findings.iter().any(is_it), "no request of {name} in {findings:#?}");
    }
    let ahead = format!("<link rel='preconnect' href='{NOWHERE}'>");
    let findings = found(&mut page, &ahead, SCREEN);
    assert!(findings.iter().any(|finding| finding.contains("preconnect")), "{findings:#?}");
    let asked = browser.asked();
    assert!(asked.iter().any(|line| line.starts_with(&format!("GET {NOWHERE}/image.png "))), "{asked:#?}");
}

#[test]
fn a_page_of_which_nothing_shows_is_found() {
    let Some(browser) = browser("an empty page") else { return };
    let mut page = Page::new(browser);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("page.html");
    std::fs::write(&file, "<!doctype html><title>nothing</title><p hidden>not shown</p>").expect("written");
    page.open(&file, SCREEN);
    assert_eq!(page.findings(SCREEN), ["empty: no text is visible"]);
}

#[test]
fn what_is_as_it_should_be_is_not_found() {
    let Some(browser) = browser("pages without faults") else { return };
    let mut page = Page::new(browser);
    for body in [
        "<p>One paragraph of <b>some</b> <code>words</code> that take a line or two on a phone, since there are many of \
         them.</p><ul><li>one<li>two</ul><table><tr><th>name<td>value</table><pre><code>a line to copy</code></pre>",
        "<p style='line-height:1'>Ag<br>Ag<br>Ag</p>",
        "<span style='position:absolute;width:1px;height:1px;overflow:hidden;white-space:nowrap'>for screen readers</span>",
        "<svg width=200 height=60 viewBox='0 0 200 60'><title>a plot</title><g fill=CanvasText><text x=10 y=20>top</text>\
         <text x=10 y=40>below</text></g><path d='M0 35H200' stroke='#888' fill='none'/></svg>",
        "<svg width=60 height=200><text x=20 y=150 transform='rotate(-90 20 150)' fill=CanvasText>turned</text></svg>",
        "<svg width=200 height=40><rect width=200 height=40 fill='#777'/><text x=10 y=25 fill='#000' stroke='#fff' \
         stroke-width=4 style='paint-order:stroke'>a halo</text></svg>",
        "<svg width=200 height=40 style='background:#fff'><text x=10 y=25 fill='#000'>label</text>\
         <rect width=200 height=40 fill='transparent' pointer-events='all'/></svg>",
        "<div style='display:none'><p style='color:#fff'>hidden</p></div><p style='opacity:0'>unseen</p>",
        "<img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='>",
    ] {
        for view in [PHONE, SCREEN, DARK, PAPER] {
            assert_eq!(found(&mut page, body, view), [] as [&str; 0], "{view:?}: {body}");
        }
    }
}
