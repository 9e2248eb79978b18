//! A page of the browser: opened from disk, seen as on one kind of screen, measured.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chromium::{Browser, Inbox};

/// Longer than a page takes to load on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A list of findings about each visible text, and how many texts there are.
const MEASURE: &str = include_str!("measure.js");

/// No page is shown higher than this, CSS pixels: a picture of more is cut by the browser.
const MOST_HIGH_PX: u64 = 16_000;

/// What a page is seen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Of the window, CSS pixels.
    pub(crate) width_px: u64,
    pub(crate) look: Look,
}

/// How it is shown there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Light,
    Dark,
    /// As on paper.
    Print,
    /// Light, and no script of the page runs.
    WithoutScript,
}

impl View {
    /// A phone, a small and a large screen, light and dark; paper; and a browser without scripts.
    pub(crate) const ALL: [Self; 8] = [
        Self::new(360, Look::Light),
        Self::new(360, Look::Dark),
        Self::new(800, Look::Light),
        Self::new(800, Look::Dark),
        Self::new(1600, Look::Light),
        Self::new(1600, Look::Dark),
        // A4 less margins of 10 mm, at 96 pixels an inch.
        Self::new(718, Look::Print),
        Self::new(1600, Look::WithoutScript),
    ];

    pub(crate) const fn new(width_px: u64, look: Look) -> Self {
        Self { width_px, look }
    }

    /// A name for a file.
    pub(crate) fn name(self) -> String {
        format!("{}-{:?}", self.width_px, self.look).to_lowercase()
    }
}

/// An open page; it closes with this value.
pub(crate) struct Page<'a> {
    browser: &'a Browser,
    target: String,
    session: String,
    inbox: Inbox,
    url: String,
}

impl<'a> Page<'a> {
    /// A window of its own with nothing in it.
    #[track_caller]
    pub(crate) fn new(browser: &'a Browser) -> Self {
        let blank = json!({ "url": "about:blank", "newWindow": true });
        let target = words(&browser.ask("Target.createTarget", &blank)["targetId"]);
        let attach = json!({ "targetId": target, "flatten": true });
        let session = words(&browser.ask("Target.attachToTarget", &attach)["sessionId"]);
        let inbox = browser.inbox_for(&session);
        let mut page = Self { browser, target, session, inbox, url: "about:blank".to_owned() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.call("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }));
        page
    }

    /// Calls a method of the protocol for this page.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.browser.call(&self.session, &mut self.inbox, method, parameters)
    }

    /// The value of an expression, of its promise where it is one.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &asked);
        assert!(result["exceptionDetails"].is_null(), "{}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Shows a file as on `view` from the first moment, and waits until it is loaded.
    #[track_caller]
    pub(crate) fn open(&mut self, file: &Path, view: View) {
        self.show(view, 900);
        let file = file.canonicalize().expect("there is such a file");
        self.go_to(&format!("file://{}", file.display()));
    }

    /// Loads what is at a URL.
    #[track_caller]
    pub(crate) fn go_to(&mut self, url: &str) {
        self.url = url.split('#').next().unwrap_or_default().to_owned();
        self.inbox.gather();
        self.inbox.events.retain(|event| event["method"] != "Page.loadEventFired");
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        let until = Instant::now() + PATIENCE;
        while !self.inbox.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.inbox.next(until).unwrap_or_else(|why| panic!("{url}: {why}"));
            self.inbox.events.push(event);
        }
    }

    /// Shows the page as on `view`, in a window of this height.
    fn show(&mut self, view: View, height_px: u64) {
        let is_phone = view.width_px < 480;
        let size = json!({
            "width": view.width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let medium = if view.look == Look::Print { "print" } else { "" };
        let scheme = if view.look == Look::Dark { "dark" } else { "light" };
        let media =
            json!({ "media": medium, "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
        let without = json!({ "value": view.look == Look::WithoutScript });
        self.call("Emulation.setScriptExecutionDisabled", &without);
    }

    /// Measures the page on `view`, as it stands and with all that can be unfolded open, and gives what is wrong, with
    /// what the page said and asked for since it was looked at last.
    #[track_caller]
    pub(crate) fn findings(&mut self, view: View) -> Vec<String> {
        let mut findings = self.measured(view);
        if self.evaluate(UNFOLD) == json!(true) {
            findings.extend(self.measured(view));
        }
        findings.extend(self.said());
        findings.sort();
        findings.dedup();
        findings
    }

    fn measured(&mut self, view: View) -> Vec<String> {
        self.show(view, 900);
        // All of it, since only what is in the window can be hit.
        let height_px = self.evaluate("document.documentElement.scrollHeight").as_u64().unwrap_or_default();
        self.show(view, height_px.clamp(900, MOST_HIGH_PX));
        let seen = self.evaluate(MEASURE);
        let findings = seen["findings"].as_array().expect("a list");
        let mut findings: Vec<String> = findings.iter().map(words).collect();
        if seen["texts"].as_u64().is_none_or(|texts| texts == 0) {
            findings.push("empty: no text is visible".to_owned());
        }
        findings
    }

    /// Errors and warnings of its console, and requests other than for the page itself, since it was asked last.
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.inbox.gather();
        let events = std::mem::take(&mut self.inbox.events);
        events.iter().filter_map(|event| complaint(event, &self.url)).collect()
    }

    /// Moves or presses the pointer.
    #[track_caller]
    pub(crate) fn pointer(&mut self, what: &str, x: f64, y: f64) {
        let button = if what == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": what, "x": x, "y": y, "button": button, "clickCount": 1 });
        let _front = self.browser.front();
        self.call("Page.bringToFront", &json!({}));
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// Asks the browser that it is in.
    #[track_caller]
    pub(crate) fn ask_browser(&self, method: &str, parameters: &Value) {
        self.browser.ask(method, parameters);
    }

    /// A picture of all of it, PNG.
    #[track_caller]
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let how = json!({ "format": "png", "optimizeForSpeed": true });
        let _front = self.browser.front();
        self.call("Page.bringToFront", &json!({}));
        let picture = words(&self.call("Page.captureScreenshot", &how)["data"]);
        data_encoding::BASE64.decode(picture.as_bytes()).expect("base64")
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        self.browser.forget(&self.session);
        if !std::thread::panicking() {
            self.browser.ask("Target.closeTarget", &json!({ "targetId": self.target }));
        }
    }
}

/// Opens all that can be unfolded; whether there was any.
const UNFOLD: &str = "(() => {
    const folded = [...document.querySelectorAll('details:not([open])')];
    folded.forEach((it) => { it.open = true; });
    return folded.length > 0;
})()";

/// What an event of the protocol tells of a fault, as a finding.
fn complaint(event: &Value, page: &str) -> Option<String> {
    let told = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let details = &told["exceptionDetails"];
            Some(format!(
                "console: {} {}",
                words(&details["text"]),
                words(&details["exception"]["description"])
            ))
        }
        "Runtime.consoleAPICalled" => {
            let kind = words(&told["type"]);
            let is_bad = ["error", "warning", "assert"].contains(&kind.as_str());
            is_bad.then(|| format!("console: {kind}: {}", told["args"]))
        }
        "Log.entryAdded" => {
            let entry = &told["entry"];
            let is_bad = entry["level"] == "error" || entry["level"] == "warning";
            is_bad.then(|| format!("console: {}: {}", words(&entry["level"]), words(&entry["text"])))
        }
        "Network.requestWillBeSent" => {
            let url = words(&told["request"]["url"]);
            let stays = url == page || url.starts_with("data:") || url.starts_with("blob:");
            (!stays).then(|| format!("request: {url}"))
        }
        "Network.webSocketCreated" | "Network.webTransportCreated" => {
            Some(format!("request: {}", words(&told["url"])))
        }
        _ => None,
    }
}

/// A text of the protocol; other values as they are written.
pub(crate) fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
