//! Standard output: a terminal that is redrawn, or plain lines for a file, a pipe, a log.

use std::io::{self, IsTerminal, Write};

use super::view::{self, Piece, Scene};

/// A terminal's size where nothing says it: columns and lines.
const SIZE: (usize, usize) = (80, 24);
/// The alternate screen without a cursor, so that the shell's lines are there again at the end.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE_END: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// See the module. A terminal is as it was before when this is dropped.
#[derive(Debug)]
pub(super) enum Screen {
    Terminal,
    Lines,
}

impl Screen {
    pub(super) fn open() -> io::Result<Screen> {
        if !io::stdout().is_terminal() {
            return Ok(Screen::Lines);
        }
        write_out(ENTER)?;
        Ok(Screen::Terminal)
    }

    /// Shows how things are now: all of it on a terminal, a few lines elsewhere.
    pub(super) fn show(&self, scene: &Scene<'_>) -> io::Result<()> {
        match self {
            Screen::Lines => {
                let seconds = view::seconds(scene.now.duration_since(scene.ledger.started));
                write_out(&format!("{seconds:>8}  {}\n", scene.one_line()))?;
                scene.samples().iter().try_for_each(|line| self.say(line))
            }
            Screen::Terminal => {
                let (width, height) = size();
                let mut text = String::from(HOME);
                for line in scene.screen(height - 1) {
                    text.push_str(&view::coloured(&line, width));
                    text.push_str(CLEAR_LINE_END);
                    text.push_str("\r\n");
                }
                text.push_str(CLEAR_BELOW);
                write_out(&text)
            }
        }
    }

    /// Says something that has happened, where the screen does not show it anyway.
    pub(super) fn say(&self, line: &[Piece]) -> io::Result<()> {
        match self {
            Screen::Lines => write_out(&format!("{:>8}  {}\n", "", view::plain(line))),
            Screen::Terminal => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Screen::Terminal) {
            // A terminal that is gone needs no restoring.
            let _ = write_out(LEAVE);
        }
    }
}

/// Standard output may be a pipe that nobody reads any more: an error, and no panic as with `println!`.
pub(super) fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn size() -> (usize, usize) {
    terminal_size::terminal_size().map_or(SIZE, |(width, height)| (width.0.into(), usize::from(height.0).max(2)))
}
