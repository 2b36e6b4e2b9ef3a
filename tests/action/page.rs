//! The page in a real browser: no error, no request, room for everything, and letters that can be read.

use std::path::{Path, PathBuf};
use std::process::Command;

use gate::history::Record;
use gate::history::journal::{self, Entry};
use gate::published::ResultLine;
use gate::report::{Form, Report};
use serde_json::Value;

use crate::tools::{root, said, tool};

/// Renders a promotion that was recorded.
pub(crate) fn render(record: &str, form: Form) -> String {
    report(record).render(form)
}

fn report(record: &str) -> Report {
    let path = root().join("tests/action/records").join(record);
    let (entries, _) = journal::read::<Record>(&path).unwrap();
    let records: Vec<_> = entries.into_iter().filter_map(Entry::known).collect();
    let (Record::Started { id, plan, .. }, Record::Finished { outcome }) =
        (&records[0].1, &records.last().unwrap().1)
    else {
        panic!("{record} has no start or no end")
    };
    let mut result = ResultLine::new(id, &plan.target, (**outcome).clone());
    result.next = Some(format!("gate history {} --id {id}", plan.target));
    Report::new(result, records)
}

/// One name of 10 kB without a blank, as nobody has and somebody sends.
fn of_long_names() -> String {
    let text = render("broken.jsonl", Form::Json);
    let long = "x".repeat(10_240);
    let mut read: gate::report::ReportLine = serde_json::from_str(&text).unwrap();
    read.result.outcome.candidate_revision.clone_from(&long);
    read.result.outcome.reason.clone_from(&long);
    for recorded in &mut read.records {
        if let Record::Started { plan, .. } = &mut recorded.record {
            plan.release.name.clone_from(&long);
        }
    }
    let records = read.records.into_iter().map(|recorded| (recorded.at, recorded.record)).collect();
    Report::new(read.result, records).render(Form::Html)
}

/// What the browser measures, in the page's own window of a given width.
const MEASURE: &str = r"
const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
const light = c => { const [r, g, b] = c.match(/[\d.]+/g).map(Number); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b) };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) };
addEventListener('load', () => {
  const frame = document.getElementById('frame'), page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll('details').forEach(d => d.open = true);
  const ground = e => { for (; e; e = e.parentElement) { const c = view.getComputedStyle(e).backgroundColor; if (!/, 0\)$/.test(c)) return c } return 'rgb(255, 255, 255)' };
  let smallest = 99, worst = 99, where = '';
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('svg') || !e.getClientRects().length) continue;
    const style = view.getComputedStyle(e);
    smallest = Math.min(smallest, parseFloat(style.fontSize));
    const c = contrast(style.color, ground(e));
    if (c < worst) { worst = c; where = walker.currentNode.data.slice(0, 40) }
  }
  const root = page.documentElement;
  document.title = JSON.stringify({
    scrolls: root.scrollWidth > root.clientWidth, width: root.clientWidth, smallest, worst, where,
    requests: view.performance.getEntriesByType('resource').length,
    charts: page.querySelectorAll('svg[role=img]').length,
    unnamed: [...page.querySelectorAll('svg[role=img]')].filter(s => !s.getAttribute('aria-label') && !s.getAttribute('aria-labelledby')).length,
  });
});";

struct Browser {
    chromium: PathBuf,
    folder: tempfile::TempDir,
}

impl Browser {
    fn new() -> Option<Self> {
        Some(Self { chromium: tool("chromium")?, folder: tempfile::tempdir().unwrap() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.chromium);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args([
                "--disable-background-networking",
                "--no-first-run",
                "--virtual-time-budget=3000",
            ])
            .args(["--enable-logging=stderr", "--v=0", "--window-size=1500,1200"])
            .arg(format!("--user-data-dir={}", self.folder.path().join("profile").display()));
        command
    }

    fn url(path: &Path) -> String {
        format!("file://{}", path.display())
    }

    /// Opens the page as it is, and returns what its console says.
    fn console(&self, page: &str) -> String {
        let path = self.folder.path().join("page.html");
        std::fs::write(&path, page).unwrap();
        let output = self.command().arg("--dump-dom").arg(Self::url(&path)).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("</footer>"), "{}", said(&output));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        log.lines().filter(|line| line.contains("CONSOLE")).collect::<Vec<_>>().join("\n")
    }

    fn measure(&self, page: &str, width: u32, dark: bool) -> Value {
        let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!(
            "<!doctype html><script>{MEASURE}</script><iframe id=frame style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{escaped}\"></iframe>"
        );
        let path = self.folder.path().join("frame.html");
        std::fs::write(&path, frame).unwrap();
        let scheme = if dark { "0" } else { "1" };
        let output = self
            .command()
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg("--dump-dom")
            .arg(Self::url(&path))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&output.stdout);
        let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        let title = title.unwrap_or_else(|| panic!("nothing was measured: {}", said(&output)));
        serde_json::from_str(title).unwrap()
    }
}

#[test]
fn a_page_reads_well_in_a_browser() {
    let Some(browser) = Browser::new() else { return };
    let pages = [
        render("healthy.jsonl", Form::Html),
        render("broken.jsonl", Form::Html),
        render("slow.jsonl", Form::Html),
        of_long_names(),
    ];
    for page in pages {
        assert_eq!(browser.console(&page), "");
        for (width, dark) in [(360, false), (1440, false), (1440, true)] {
            let seen = browser.measure(&page, width, dark);
            assert_eq!(seen["width"], width, "{seen}");
            assert_eq!(seen["scrolls"], false, "{seen}");
            assert_eq!((&seen["requests"], &seen["unnamed"]), (&0.into(), &0.into()), "{seen}");
            assert!(seen["smallest"].as_f64().unwrap() >= 12.0, "{seen}");
            // WCAG AA for text of any size.
            assert!(seen["worst"].as_f64().unwrap() >= 4.5, "{seen}");
            assert!(seen["charts"].as_u64().unwrap() >= 4, "{seen}");
        }
    }
}

#[test]
fn a_page_names_nothing_to_fetch() {
    let page = render("broken.jsonl", Form::Html);
    for word in ["src=", "url(", "@import", "http:", "https:", "<script"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));
}
