//! Pictures as SVG: trade-off curves, score histograms, maps of words.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (820, 560);
const FONT: &str = "sans-serif";

/// A colour for every keyword or word, well apart around the circle.
fn colour(index: usize) -> HSLColor {
    HSLColor((index as f64 * 0.618_034).fract(), 0.65, 0.42)
}

/// Draws with `draw` into `path`; any failure names the file.
fn svg(
    path: &Path,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let run = || {
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
        Ok(())
    };
    run()
        .map_err(|e: Box<dyn std::error::Error + Send + Sync>| anyhow::anyhow!("{e}"))
        .with_context(|| format!("cannot draw {}", path.display()))
}

/// Detection error trade-off: miss rate over false alarms an hour (logarithmic above 0.05), one curve a name.
///
/// A curve's points are `(false alarms an hour, miss rate 0 to 1)`.
///
/// # Errors
/// If the file cannot be written.
pub fn det(path: &Path, curves: &[(String, Vec<(f64, f64)>)]) -> Result<()> {
    let least = 0.05;
    let most = curves.iter().flat_map(|(_, c)| c).map(|p| p.0).fold(10.0, f64::max);
    svg(path, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption("Misses against false alarms", (FONT, 20))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(54)
            .build_cartesian_2d((least..most).log_scale(), 0.0..100.0_f64)?;
        chart.configure_mesh().x_desc("false alarms an hour and keyword").y_desc("missed, %").draw()?;
        for (i, (name, points)) in curves.iter().enumerate() {
            // A step curve: the miss rate holds until the next false alarm comes in.
            let mut line: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len());
            for &(fa, miss) in points {
                let (x, y) = (fa.max(least), miss * 100.0);
                line.extend(line.last().map(|last| (x, last.1)));
                line.push((x, y));
            }
            let style = colour(i).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line, style))?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        Ok(())
    })
}

/// Histograms of the scores of same-word and different-word pairs, each scaled to its own highest bin.
///
/// # Errors
/// If the file cannot be written.
pub fn histogram(path: &Path, same: &[f32], different: &[f32]) -> Result<()> {
    const BINS: usize = 80;
    let finite = same.iter().chain(different).copied().filter(|v| v.is_finite());
    let low = f64::from(finite.clone().fold(f32::INFINITY, f32::min).min(0.0));
    let high = f64::from(finite.fold(f32::NEG_INFINITY, f32::max).max(1.0));
    let width = (high - low) / BINS as f64;
    let bins = |scores: &[f32]| -> Vec<f64> {
        let mut counts = vec![0.0; BINS];
        for s in scores.iter().filter(|s| s.is_finite()) {
            counts[(((f64::from(*s) - low) / width) as usize).min(BINS - 1)] += 1.0;
        }
        let most = counts.iter().copied().fold(1.0, f64::max);
        counts.iter().map(|c| c / most).collect()
    };
    svg(path, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption("Scores of same and different words", (FONT, 20))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(54)
            .build_cartesian_2d(low..high, 0.0..1.05_f64)?;
        chart.configure_mesh().x_desc("score").y_desc("pairs, relative to the fullest bin").draw()?;
        let sets = [("different", different, RGBColor(150, 150, 150)), ("same", same, RGBColor(20, 110, 190))];
        for (name, scores, paint) in sets {
            let bars = bins(scores).into_iter().enumerate().map(|(i, h)| {
                let x = low + i as f64 * width;
                Rectangle::new([(x, 0.0), (x + width, h)], paint.mix(0.5).filled())
            });
            chart
                .draw_series(bars)?
                .label(format!("{name}, {} pairs", scores.len()))
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], paint.mix(0.5).filled()));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        Ok(())
    })
}

/// A point of a [`map`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Place.
    pub at: (f64, f64),
    /// Points of one group share a colour.
    pub group: usize,
    /// Written beside the point; the point is then a cross, otherwise a dot.
    pub label: Option<String>,
}

/// Points in the plane, coloured by group.
///
/// # Errors
/// If the file cannot be written.
pub fn map(path: &Path, caption: &str, marks: &[Mark]) -> Result<()> {
    let range = |of: fn(&Mark) -> f64| {
        let low = marks.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = marks.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let edge = ((high - low) * 0.04).max(1e-3);
        if low.is_finite() { low - edge..high + edge } else { 0.0..1.0 }
    };
    svg(path, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(caption, (FONT, 18))
            .margin(8)
            .build_cartesian_2d(range(|m| m.at.0), range(|m| m.at.1))?;
        let dots = marks.iter().filter(|m| m.label.is_none());
        chart.draw_series(dots.map(|m| Circle::new(m.at, 2, colour(m.group).mix(0.7).filled())))?;
        for m in marks {
            if let Some(label) = &m.label {
                let paint = colour(m.group);
                let cross = EmptyElement::at(m.at)
                    + Cross::new((0, 0), 3, paint.stroke_width(1))
                    + Text::new(label.clone(), (5, -4), (FONT, 9).into_font().color(&paint));
                chart.draw_series([cross])?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plot_is_an_svg_with_its_series() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
        let curve = vec![(0.0, 1.0), (0.0, 0.4), (2.0, 0.4), (2.0, 0.1)];
        det(&folder.path().join("det.svg"), &[("hello".into(), curve), ("empty".into(), Vec::new())]).expect("det");
        assert!(text("det.svg").contains("hello") && text("det.svg").trim_end().ends_with("</svg>"));
        histogram(&folder.path().join("h.svg"), &[0.9, 0.8, f32::NAN], &[-0.2, 0.1]).expect("histogram");
        assert!(text("h.svg").contains("same, 3 pairs"));
        let marks = [
            Mark { at: (0.0, 0.0), group: 0, label: Some("cat".into()) },
            Mark { at: (1.0, 2.0), group: 0, label: None },
        ];
        map(&folder.path().join("m.svg"), "words", &marks).expect("map");
        assert!(text("m.svg").contains("cat") && text("m.svg").contains("<circle"));
        map(&folder.path().join("none.svg"), "nothing", &[]).expect("an empty map");
    }
}
