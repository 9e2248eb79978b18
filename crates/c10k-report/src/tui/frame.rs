//! A frame of the full screen: a function of a view alone.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Widget as _};

use crate::tui::panels::{self, Panel};
use crate::tui::view::View;

/// From so many columns on two panels stand side by side.
const TWO_COLUMNS: u16 = 60;

/// Draws the view into all of the frame. What finds no room is left out, the last panels first.
pub(crate) fn draw(view: &View, color: bool, frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let mut page = Page { left: area, frame };
    page.line(Line::from(view.live.line(width)));
    if area.height > 3 {
        page.line(panels::phases(view));
    }
    let below = if area.height > 20 { 2 } else { u16::from(area.height > 2) };
    let footer = page.keep_below(below);
    page.panels(&[panels::counts(view, width)]);
    let half = if area.width >= TWO_COLUMNS { width / 2 - 1 } else { width };
    let pairs = [
        [panels::sockets(view, half), panels::losses(view, half)],
        [panels::memory(view, half), panels::processors(view, half)],
        [panels::walls(view, half), panels::workload(view)],
    ];
    for pair in &pairs {
        if area.width >= TWO_COLUMNS {
            page.panels(pair);
        } else {
            pair.iter().for_each(|panel| page.panels(std::slice::from_ref(panel)));
        }
    }
    page.left = footer;
    if below > 1 {
        page.line(Line::from(view.word.clone().unwrap_or_default()));
    }
    page.line(Line::from(match view.is_stopping {
        true => "stopping: its connections are closed in order; q again ends it at once",
        false => "q or Ctrl-C: stop in order; a second time: at once",
    }));
    if !color {
        let buffer = page.frame.buffer_mut();
        buffer.content.iter_mut().for_each(|cell| cell.fg = Color::Reset);
    }
}

/// What of the frame is free yet.
struct Page<'a, 'b> {
    left: Rect,
    frame: &'a mut Frame<'b>,
}

impl Page<'_, '_> {
    /// Takes so many rows from the top of what is free.
    fn take(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.left.height);
        let taken = Rect { height: rows, ..self.left };
        self.left.y += rows;
        self.left.height -= rows;
        taken
    }

    /// Keeps so many rows below for later.
    fn keep_below(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.left.height);
        self.left.height -= rows;
        Rect { y: self.left.y + self.left.height, height: rows, ..self.left }
    }

    fn line(&mut self, line: Line<'static>) {
        let area = self.take(1);
        line.render(area, self.frame.buffer_mut());
    }

    /// Panels side by side, where a title and a line of them find room.
    fn panels(&mut self, panels: &[Panel]) {
        let rows = panels.iter().map(Panel::height).max().unwrap_or(0);
        if self.left.height < 2 || self.left.width == 0 {
            return;
        }
        let area = self.take(rows);
        let each = area.width / panels.len().max(1) as u16;
        for (at, panel) in panels.iter().enumerate() {
            let x = area.x + each * at as u16;
            let gap = u16::from(at + 1 < panels.len());
            let place = Rect { x, width: each.saturating_sub(gap), ..area };
            let block = Block::new().borders(Borders::TOP).title(format!("{} ", panel.title));
            Paragraph::new(panel.lines.clone()).block(block).render(place, self.frame.buffer_mut());
        }
    }
}

#[cfg(test)]
mod tests;
