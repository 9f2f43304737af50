//! A run as one picture: for each load a panel, in it a line for each candidate, with its CPU time per request as a bar and
//! its latencies on a logarithmic axis.
//!
//! Plain SVG with its own background, so that it looks the same on a light and on a dark page.

use std::fmt::Write;

use crate::candidate::Candidate;
use crate::record::Record;
use crate::run::{Outcome, Row};
use crate::statistics::Figures;

const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = 640.0;
const LINE_HEIGHT: f64 = 20.0;
const MARGIN: f64 = 24.0;
/// Of the picture's title, its subtitle and the key.
const HEAD_HEIGHT: f64 = 104.0;
/// Of a panel's title and column heads, and of what is below its lines.
const PANEL_HEAD: f64 = 52.0;
const PANEL_FOOT: f64 = 36.0;
/// Within a panel, from its left edge.
const NAMES_END: f64 = 124.0;
const BARS_START: f64 = 132.0;
const BARS_WIDTH: f64 = 120.0;
const AXIS_START: f64 = 330.0;
const AXIS_WIDTH: f64 = 270.0;

const TEXT: &str = "#1f2328";
const FAINT_TEXT: &str = "#59636e";
const GRID: &str = "#e4e7eb";
const BACKGROUND: &str = "#ffffff";

pub(crate) fn svg(record: &Record) -> String {
    let panels = panels(record);
    let heights: Vec<_> = panels.chunks(COLUMNS).map(|row| row.iter().map(Panel::height).fold(0.0, f64::max)).collect();
    let width = PANEL_WIDTH * COLUMNS as f64 + MARGIN * 2.0;
    let missing = missing(record);
    let foot = MARGIN + missing.len() as f64 * LINE_HEIGHT;
    let height = HEAD_HEIGHT + heights.iter().sum::<f64>() + foot;
    let mut canvas = Canvas::new(width, height);
    head(&mut canvas, record);
    let mut top = HEAD_HEIGHT;
    for (row, height) in panels.chunks(COLUMNS).zip(&heights) {
        for (column, panel) in row.iter().enumerate() {
            panel.draw(&mut canvas, MARGIN + PANEL_WIDTH * column as f64, top);
        }
        top += height;
    }
    for (line, note) in missing.iter().enumerate() {
        canvas.text(MARGIN, top + LINE_HEIGHT * line as f64 + 4.0, note, &Style::faint());
    }
    canvas.finish()
}

fn head(canvas: &mut Canvas, record: &Record) {
    let machine = &record.machine;
    canvas.text(MARGIN, 36.0, "CPU time per request and latency, one worker each", &Style::title(18.0));
    let commit = record.commit.as_deref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let about = format!(
        "{}{commit}; Linux {}, {} x {}; medians of {} rounds of {} s",
        record.date, machine.kernel, machine.cpus, machine.processor, record.rounds, record.window_seconds
    );
    canvas.text(MARGIN, 58.0, &about, &Style::faint());
    let mut x = MARGIN + 4.0;
    for quantile in &QUANTILES {
        quantile.mark.draw(canvas, x, 78.0, FAINT_TEXT);
        canvas.text(x + 10.0, 82.0, quantile.name, &Style::faint());
        x += 70.0;
    }
    canvas.text(x, 82.0, "shorter bars and marks further left are better", &Style::faint());
}

/// What was not measured, and why; each once.
fn missing(record: &Record) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for row in &record.rows {
        let note = match &row.outcome {
            Outcome::Measured(_) => continue,
            Outcome::Absent(why) => format!("{}: {why}", row.candidate.name()),
            Outcome::RateNotHeld { asked, reached } => {
                format!("{}: {}: reached {reached:.0} of {asked:.0} a second", row.candidate.name(), row.load())
            }
            Outcome::Failed(why) => format!("{}: {}: {why}", row.candidate.name(), row.load()),
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// All candidates under one load.
struct Panel {
    title: String,
    lines: Vec<(Candidate, Figures)>,
}

/// In the order of the rows; loads under which nobody was measured have none.
fn panels(record: &Record) -> Vec<Panel> {
    let mut panels: Vec<(&Row, Panel)> = Vec::new();
    for row in &record.rows {
        let Some(figures) = row.median() else { continue };
        match panels.iter_mut().find(|(first, _)| first.is_like(row)) {
            Some((_, panel)) => panel.lines.push((row.candidate, figures)),
            None => panels.push((row, Panel { title: row.load(), lines: vec![(row.candidate, figures)] })),
        }
    }
    panels.into_iter().map(|(_, panel)| panel).collect()
}

impl Panel {
    fn height(&self) -> f64 {
        PANEL_HEAD + LINE_HEIGHT * self.lines.len() as f64 + PANEL_FOOT
    }

    fn draw(&self, canvas: &mut Canvas, left: f64, top: f64) {
        canvas.text(left, top + 18.0, &self.title, &Style::title(14.0));
        canvas.text(left + BARS_START, top + 40.0, "CPU µs per request", &Style::faint());
        canvas.text(left + AXIS_START, top + 40.0, "latency", &Style::faint());
        let first_line = top + PANEL_HEAD;
        let bottom = first_line + LINE_HEIGHT * self.lines.len() as f64;
        let axis = Axis::over(&self.lines);
        axis.draw(canvas, left, first_line, bottom);
        let cpu = |figures: &Figures| figures.cpu_us_per_request;
        let most = self.lines.iter().filter_map(|(_, figures)| cpu(figures)).fold(f64::MIN_POSITIVE, f64::max);
        for (line, (candidate, figures)) in self.lines.iter().enumerate() {
            let middle = first_line + LINE_HEIGHT * (line as f64 + 0.5);
            let colour = colour(*candidate);
            canvas.text(left + NAMES_END, middle + 4.0, candidate.name(), &Style::name(*candidate));
            bar(canvas, left + BARS_START, middle, cpu(figures), most, colour);
            axis.draw_latencies(canvas, left, middle, figures, colour);
        }
    }
}

fn bar(canvas: &mut Canvas, left: f64, middle: f64, cpu_us: Option<f64>, most: f64, colour: &str) {
    let Some(cpu_us) = cpu_us else {
        canvas.text(left, middle + 4.0, "no process between", &Style::faint());
        return;
    };
    let width = BARS_WIDTH * cpu_us / most;
    canvas.rectangle(left, middle - 6.0, width, 12.0, colour);
    let digits = if cpu_us < 100.0 { 1 } else { 0 };
    canvas.text(left + width + 5.0, middle + 4.0, &format!("{cpu_us:.digits$}"), &Style::plain());
}

/// A logarithmic one of whole decades, in microseconds.
struct Axis {
    first_decade: i32,
    decades: i32,
}

impl Axis {
    fn over(lines: &[(Candidate, Figures)]) -> Axis {
        let shortest = lines.iter().map(|(_, figures)| figures.latency_us.p50).fold(f64::MAX, f64::min);
        let longest = lines.iter().map(|(_, figures)| figures.latency_us.max).fold(1.0, f64::max);
        let first_decade = shortest.max(1.0).log10().floor() as i32;
        let last_decade = longest.max(1.0).log10().ceil() as i32;
        Axis { first_decade, decades: (last_decade - first_decade).max(1) }
    }

    fn place(&self, left: f64, us: f64) -> f64 {
        let decades = us.max(1.0).log10() - f64::from(self.first_decade);
        left + AXIS_START + AXIS_WIDTH * decades / f64::from(self.decades)
    }

    fn draw(&self, canvas: &mut Canvas, left: f64, top: f64, bottom: f64) {
        for decade in 0..=self.decades {
            let us = 10_f64.powi(self.first_decade + decade);
            let x = self.place(left, us);
            canvas.line((x, top), (x, bottom), GRID, 1.0);
            canvas.text(x, bottom + 14.0, &duration(us), &Style { anchor: "middle", ..Style::faint() });
        }
    }

    fn draw_latencies(&self, canvas: &mut Canvas, left: f64, middle: f64, figures: &Figures, colour: &str) {
        let at = |quantile: &Quantile| self.place(left, (quantile.of)(figures));
        let [first, .., last] = &QUANTILES;
        canvas.line((at(first), middle), (at(last), middle), colour, 1.5);
        for quantile in &QUANTILES {
            quantile.mark.draw(canvas, at(quantile), middle, colour);
        }
    }
}

/// Microseconds in the unit that a decade is said in.
fn duration(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1000.0),
        us => format!("{:.0} s", us / 1_000_000.0),
    }
}

struct Quantile {
    name: &'static str,
    mark: Mark,
    of: fn(&Figures) -> f64,
}

const QUANTILES: [Quantile; 5] = [
    Quantile { name: "p50", mark: Mark::Disc, of: |figures| figures.latency_us.p50 },
    Quantile { name: "p90", mark: Mark::Tick, of: |figures| figures.latency_us.p90 },
    Quantile { name: "p99", mark: Mark::Diamond, of: |figures| figures.latency_us.p99 },
    Quantile { name: "p99.9", mark: Mark::Square, of: |figures| figures.latency_us.p99_9 },
    Quantile { name: "max", mark: Mark::Ring, of: |figures| figures.latency_us.max },
];

#[derive(Clone, Copy)]
enum Mark {
    Disc,
    Tick,
    Diamond,
    Square,
    Ring,
}

impl Mark {
    fn draw(self, canvas: &mut Canvas, x: f64, y: f64, colour: &str) {
        match self {
            Mark::Disc => canvas.circle(x, y, 4.0, colour, colour),
            Mark::Tick => canvas.line((x, y - 5.0), (x, y + 5.0), colour, 2.0),
            Mark::Diamond => canvas.polygon(&[(x, y - 5.0), (x + 5.0, y), (x, y + 5.0), (x - 5.0, y)], colour),
            Mark::Square => canvas.rectangle(x - 3.0, y - 3.0, 6.0, 6.0, colour),
            Mark::Ring => canvas.circle(x, y, 3.5, BACKGROUND, colour),
        }
    }
}

/// The balancer blue, relays grey to green, rivals warm.
fn colour(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Direct => "#1f2328",
        Candidate::Relay => "#6e7781",
        Candidate::RelayEpoll => "#a0a8b0",
        Candidate::Sqluice => "#0550ae",
        Candidate::SqluiceEpoll => "#4a9be8",
        Candidate::SqluiceSplit => "#6f42c1",
        Candidate::SqluiceSplitEpoll => "#a987e0",
        Candidate::SqluiceTls => "#0a3069",
        Candidate::SqluiceTlsBoth => "#54aeff",
        Candidate::RelayMonoio => "#1a7f5a",
        Candidate::RelayTokioUring => "#57ab7e",
        Candidate::Haproxy => "#d1500c",
        Candidate::HaproxyTls => "#f0883e",
        Candidate::ProxySql => "#a11d33",
        Candidate::MySqlRouter => "#b8860b",
    }
}

/// How text looks.
struct Style {
    size: f64,
    colour: &'static str,
    weight: &'static str,
    anchor: &'static str,
}

impl Style {
    fn plain() -> Style {
        Style { size: 12.0, colour: TEXT, weight: "normal", anchor: "start" }
    }

    fn faint() -> Style {
        Style { colour: FAINT_TEXT, ..Style::plain() }
    }

    fn title(size: f64) -> Style {
        Style { size, weight: "bold", ..Style::plain() }
    }

    fn name(candidate: Candidate) -> Style {
        let weight = match candidate {
            Candidate::Sqluice
            | Candidate::SqluiceEpoll
            | Candidate::SqluiceSplit
            | Candidate::SqluiceSplitEpoll
            | Candidate::SqluiceTls
            | Candidate::SqluiceTlsBoth => "bold",
            _ => "normal",
        };
        Style { weight, anchor: "end", ..Style::plain() }
    }
}

/// The picture so far.
struct Canvas {
    svg: String,
}

impl Canvas {
    fn new(width: f64, height: f64) -> Canvas {
        let mut canvas = Canvas { svg: String::new() };
        canvas.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"'DejaVu Sans', Verdana, Arial, sans-serif\">"
        ));
        canvas.rectangle(0.0, 0.0, width, height, BACKGROUND);
        canvas
    }

    fn finish(mut self) -> String {
        self.add(format_args!("</svg>"));
        self.svg
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.svg, "{element}").expect("a string takes everything");
    }

    fn text(&mut self, x: f64, y: f64, text: &str, style: &Style) {
        let Style { size, colour, weight, anchor } = style;
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{colour}\" \
             text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"/>"
        ));
    }

    fn circle(&mut self, x: f64, y: f64, radius: f64, fill: &str, edge: &str) {
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"1.5\"/>"
        ));
    }

    fn polygon(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!("<polygon points=\"{}\" fill=\"{colour}\"/>", points.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn everybody_measured_has_a_line_and_the_others_a_reason() {
        let svg = svg(&record());
        for name in ["relay", "sqluice", "haproxy"] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        }
        assert!(svg.contains(">proxysql: not given</text>"));
        assert!(svg.contains("no reply</text>"));
    }

    #[test]
    fn the_longest_bar_is_the_dearest_candidates() {
        let svg = svg(&record());
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("height=\"12.0\""))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths, [BARS_WIDTH * 10.0 / 15.0, BARS_WIDTH * 12.0 / 15.0, BARS_WIDTH]);
    }

    #[test]
    fn an_axis_holds_every_latency_between_whole_decades() {
        let lines = [(Candidate::Sqluice, crate::testing::figures(1.0))];
        let axis = Axis::over(&lines);
        assert_eq!((axis.first_decade, axis.decades), (2, 2));
        assert_eq!(axis.place(0.0, 100.0), AXIS_START);
        assert_eq!(axis.place(0.0, 10_000.0), AXIS_START + AXIS_WIDTH);
    }

    #[test]
    fn signs_of_xml_are_escaped() {
        let mut record = record();
        record.rows[3].outcome = Outcome::Absent("a < b & c".to_owned());
        assert!(svg(&record).contains("a &lt; b &amp; c"));
    }
}
