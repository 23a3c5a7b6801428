//! A score over time, in eighths of a cell, with its threshold as a line.

use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::Widget;

const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The newest score is at the right edge.
pub struct Trace<'a> {
    pub scores: &'a VecDeque<f32>,
    pub threshold: f32,
}

/// Eighths of a cell that a score fills.
fn height(score: f32, rows: u16) -> u16 {
    (score.clamp(0.0, 1.0) * f32::from(rows) * 8.0).round() as u16
}

impl Widget for Trace<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let line = height(self.threshold, area.height).min(area.height * 8 - 1) / 8;
        for column in 0..area.width {
            let age = usize::from(area.width - 1 - column);
            let score = self.scores.len().checked_sub(age + 1).and_then(|i| self.scores.get(i)).copied();
            let score = score.unwrap_or(0.0);
            let over = score >= self.threshold;
            let full = height(score, area.height);
            for row in 0..area.height {
                let fill = full.saturating_sub(row * 8).min(8);
                let cell = &mut buffer[(area.x + column, area.y + area.height - 1 - row)];
                if fill == 0 && row == line && area.height > 1 {
                    cell.set_symbol("┄").set_style(Style::new().fg(Color::Yellow));
                } else {
                    let colour = if over { Color::Green } else { Color::Blue };
                    cell.set_symbol(EIGHTHS[usize::from(fill)]).set_style(Style::new().fg(colour));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(scores: &[f32], threshold: f32, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Trace { scores: &scores.iter().copied().collect(), threshold }.render(area, &mut buffer);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    #[test]
    fn scores_grow_from_the_bottom_and_end_at_the_right() {
        assert_eq!(drawn(&[0.25, 0.5, 1.0], 0.75, 4, 2), ["┄┄┄█", " ▄██"]);
    }

    #[test]
    fn one_row_has_no_line() {
        assert_eq!(drawn(&[0.5], 0.9, 3, 1), ["  ▄"]);
    }

    #[test]
    fn scores_out_of_range_stay_inside() {
        assert_eq!(drawn(&[7.0, -3.0, f32::NAN], 1.0, 3, 2), ["█┄┄", "█  "]);
    }

    #[test]
    fn nothing_is_drawn_on_nothing() {
        assert!(drawn(&[0.5], 0.5, 0, 0).is_empty());
    }
}
