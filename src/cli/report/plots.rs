//! The plots of a report, as SVG within the page.

use oltr::bundle::{Bundle, Rule, Shot};
use oltr::evaluate::{ClassRow, Evaluation};
use oltr::inference::Record;
use oltr::metrics::{Oscr, Point, Separation};
use oltr::scores::ScoreKind;
use oltr::{Error, Result};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Size of a plot in pixels of the page: its text is still 10 pixels high on a narrow telephone.
const SIZE: (u32, u32) = (460, 320);

/// Colours that colour-blind people can tell apart (Okabe and Ito, 2008).
pub const KNOWN: RGBColor = RGBColor(0, 114, 178);
pub const OPEN: RGBColor = RGBColor(213, 94, 0);
const MEDIUM: RGBColor = RGBColor(0, 158, 115);
const GREY: RGBColor = RGBColor(150, 150, 150);
const DARK: RGBColor = RGBColor(40, 40, 40);

/// Font of plots: plotters draws it at four fifths of this size.
const FONT: (&str, i32) = ("sans-serif", 17);

/// Bars of a histogram.
const BINS: usize = 40;

/// Share of the scores at either end that a histogram leaves to its first and last bar.
const OUTLIERS: f64 = 0.005;

/// Scores with curves: only these, so that a plot stays legible.
const CURVES: [(ScoreKind, RGBColor); 3] =
    [(ScoreKind::Reachability, KNOWN), (ScoreKind::MaxProbability, OPEN), (ScoreKind::Energy, MEDIUM)];

/// Scores of known photos against those of open ones, with the threshold.
pub fn histogram(records: &[Record], bundle: &Bundle) -> Result<String> {
    let kind = ScoreKind::of_rule(bundle.open.rule);
    let of = |known: bool| -> Vec<f64> {
        records.iter().filter(|r| r.truth.is_some() == known).map(|r| r.kinds[kind.index()]).collect()
    };
    let (known, open) = (of(true), of(false));
    let threshold = f64::from(match bundle.open.rule {
        Rule::MaxProbability => bundle.open.probability,
        Rule::Reachability | Rule::Both => bundle.open.reachability,
        _ => bundle.open.limit.unwrap_or(f32::INFINITY),
    });
    let mut all: Vec<f64> = known.iter().chain(&open).copied().collect();
    all.sort_by(f64::total_cmp);
    let cut = (all.len() as f64 * OUTLIERS) as usize;
    let low = all[cut].min(threshold);
    let high = all[all.len() - 1 - cut].max(threshold).max(low * (1.0 + 1e-6) + 1e-9);
    let width = (high - low) / BINS as f64;
    let shares = |scores: &[f64]| {
        let mut bars = vec![0.0; BINS];
        for s in scores {
            bars[(((s - low) / width).max(0.0) as usize).min(BINS - 1)] += 1.0 / scores.len() as f64;
        }
        bars
    };
    let (known, open) = (shares(&known), shares(&open));
    let top = known.iter().chain(&open).copied().fold(0.0, f64::max) * 1.1;
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(low..high, 0.0..top)?;
        let label = kind.name();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GREY.mix(0.3))
            .label_style(FONT)
            .axis_desc_style(FONT)
            .x_desc(label)
            .y_desc("share of photos")
            .y_label_formatter(&|y| format!("{:.0} %", y * 100.0))
            .draw()?;
        for (bars, color, name) in [(&known, KNOWN, "known"), (&open, OPEN, "unknown")] {
            let bar = |(i, share): (usize, &f64)| {
                let left = low + i as f64 * width;
                Rectangle::new([(left, 0.0), (left + width, *share)], color.mix(0.5).filled())
            };
            chart
                .draw_series(bars.iter().enumerate().map(bar))?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], color.mix(0.5).filled()));
        }
        let line = [(threshold, 0.0), (threshold, top)];
        chart
            .draw_series(LineSeries::new(line, DARK.stroke_width(2)))?
            .label(format!("threshold {threshold:.4}"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], DARK.stroke_width(2)));
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

/// ROC curves: open photos accepted against known ones accepted.
pub fn roc(records: &[Record]) -> Result<String> {
    let curve = |kind: ScoreKind| {
        let of = |known: bool| {
            let of = records.iter().filter(|r| r.truth.is_some() == known);
            of.map(|r| r.kinds[kind.index()]).collect()
        };
        let separation = Separation::new(of(true), of(false))?;
        Ok((separation.roc(), separation.auroc()))
    };
    curves(curve, "known photos accepted", true)
}

/// OSCR curves: open photos accepted against known ones accepted and named rightly.
pub fn oscr(records: &[Record]) -> Result<String> {
    let curve = |kind: ScoreKind| {
        let score = |r: &Record| r.kinds[kind.index()];
        let known: Vec<_> =
            records.iter().filter(|r| r.truth.is_some()).map(|r| (score(r), r.truth == Some(r.scores.class))).collect();
        let open: Vec<_> = records.iter().filter(|r| r.truth.is_none()).map(score).collect();
        let oscr = Oscr::new(&known, &open)?;
        Ok((oscr.points().to_vec(), oscr.area()))
    };
    curves(curve, "known photos named rightly", false)
}

fn curves(
    curve: impl Fn(ScoreKind) -> Result<(Vec<Point>, Option<f64>)>,
    gained: &str,
    diagonal: bool,
) -> Result<String> {
    let all = CURVES.iter().map(|(kind, color)| Ok((*kind, *color, curve(*kind)?))).collect::<Result<Vec<_>>>()?;
    draw(|area| {
        let mut chart = percents(area, "unknown photos called a class", gained)?;
        if diagonal {
            chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY.mix(0.6)))?;
        }
        for (kind, color, (points, area)) in all {
            let name = format!("{} {:.3}", kind.name(), area.unwrap_or_default());
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// Accuracy of each class by its number of training photos, the rule being on.
pub fn by_training_count(evaluation: &Evaluation) -> Result<String> {
    let rows: Vec<&ClassRow> = evaluation.classes.iter().filter(|c| c.open_set.is_some()).collect();
    let most = rows.iter().map(|c| c.train_count).max().unwrap_or(1).max(2) as f64 * 1.3;
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d((0.9..most).log_scale(), -0.02..1.04)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GREY.mix(0.3))
            .label_style(FONT)
            .axis_desc_style(FONT)
            .x_desc("training photos of the class")
            .y_desc("accuracy, rule on")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_labels(6)
            .y_label_formatter(&|y| format!("{:.0} %", y * 100.0))
            .draw()?;
        for (shot, name, color) in
            [(Shot::Few, "few-shot", OPEN), (Shot::Medium, "medium-shot", MEDIUM), (Shot::Many, "many-shot", KNOWN)]
        {
            let of: Vec<&&ClassRow> = rows.iter().filter(|c| c.shot == shot).collect();
            if of.is_empty() {
                continue;
            }
            let mean = of.iter().filter_map(|c| c.open_set).sum::<f64>() / of.len() as f64;
            let counts = || of.iter().map(|c| c.train_count.max(1) as f64);
            let (first, last) = (counts().fold(f64::MAX, f64::min), counts().fold(0.0, f64::max));
            let point = |c: &&&ClassRow| {
                Circle::new((c.train_count.max(1) as f64, c.open_set.unwrap_or_default()), 4, color.mix(0.45).filled())
            };
            chart
                .draw_series(of.iter().map(point))?
                .label(format!("{name}, mean {:.1} %", mean * 100.0))
                .legend(move |(x, y)| Circle::new((x + 7, y), 4, color.mix(0.45).filled()));
            chart.draw_series(LineSeries::new([(first, mean), (last, mean)], color.stroke_width(2)))?;
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    })
}

/// Stated probability against how often it was right.
pub fn reliability(evaluation: &Evaluation) -> Result<String> {
    let bins = &evaluation.closed.reliability;
    draw(|area| {
        let mut chart = percents(area, "probability that the network states", "known photos named rightly")?;
        let width = 1.0 / bins.len() as f64;
        let bar = |(i, bin): (usize, &oltr::metrics::Bin)| {
            let left = i as f64 * width;
            Rectangle::new([(left, 0.0), (left + width, bin.accuracy)], KNOWN.mix(0.5).filled())
        };
        chart.draw_series(bins.iter().enumerate().map(bar))?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], DARK))?;
        Ok(())
    })
}

type Plotted<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Drawn = Plotted<()>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Percents<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A plot of rates against rates, with axes named `x` and `y`.
fn percents<'a, 'b>(area: &'a Area<'b>, x: &str, y: &str) -> Plotted<Percents<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    let percent = |x: &f64| format!("{:.0} %", x * 100.0);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.3))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_labels(6)
        .y_labels(6)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
        .draw()?;
    Ok(chart)
}

fn draw(plot: impl FnOnce(&Area) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let failed = |e: Box<dyn std::error::Error>| Error::Internal(format!("a plot cannot be drawn: {e}"));
        plot(&area).map_err(failed)?;
        area.present().map_err(|e| failed(e.into()))?;
    }
    Ok(svg)
}

fn legend<'a, 'b: 'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .label_font(FONT)
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.5))
        .draw()
        .map_err(|e| e.to_string().into())
}
