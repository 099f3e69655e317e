//! The kernels' ratios as a picture.

use std::path::Path;

use plotters::prelude::*;

use crate::contender::Result;

/// Pixels of a bar and what lies between bars.
const BAR: u32 = 44;
const WIDTH: u32 = 760;

/// Draws one bar for each contender: how many times as long as the first it took, as `(name, ratio)`. Those without a
/// ratio are left out.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(file: &Path, title: &str, bars: &[(&str, f64)]) -> Result<()> {
    let bars: Vec<_> = bars.iter().filter(|(_, ratio)| ratio.is_finite()).collect();
    let longest = bars
        .iter()
        .fold(1.0, |most: f64, (_, ratio)| most.max(*ratio));
    let height = BAR * bars.len() as u32 + 90;
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(28)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..longest * 1.12, 0.0..bars.len() as f64)?;
    let name = |at: &f64| {
        // From top to bottom; labels stand at the middle of each bar.
        let row = bars.len() as f64 - at - 0.5;
        let bar = (row.fract() == 0.0 && row >= 0.0).then(|| bars.get(row as usize));
        bar.flatten()
            .map_or_else(String::new, |(name, _)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len() * 2 + 1)
        .y_label_formatter(&name)
        .draw()?;
    for (row, (_, ratio)) in bars.iter().enumerate() {
        let bottom = (bars.len() - row - 1) as f64;
        let color = if row == 0 {
            RGBColor(40, 110, 200)
        } else {
            RGBColor(150, 160, 175)
        };
        chart.draw_series([Rectangle::new(
            [(0.0, bottom + 0.18), (*ratio, bottom + 0.82)],
            color.filled(),
        )])?;
        chart.draw_series([Text::new(
            format!("{ratio:.2}"),
            (ratio + longest * 0.01, bottom + 0.62),
            ("sans-serif", 14),
        )])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_has_a_bar_with_its_name_and_ratio() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("chart.svg");
        write(
            &file,
            "title",
            &[("ours", 1.0), ("theirs", 2.5), ("absent", f64::NAN)],
        )?;
        let drawn = std::fs::read_to_string(&file)?;
        for text in ["title", "ours", "theirs", "2.50"] {
            assert!(drawn.contains(text), "{text}");
        }
        assert!(!drawn.contains("absent"));
        Ok(())
    }
}
