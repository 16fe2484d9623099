//! Plots of quantities over another, such as the loss over epochs.

use crate::error::{Error, Result};
use crate::plot::{Axis, Marks, Panel, Picture, Scale, range};

/// A curve with its name in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Pairs of x and y. Pairs that are not finite or beyond the range of `f32` are left out.
    pub points: Vec<(f64, f64)>,
}

/// Curves in one panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// Label of the vertical axis.
    pub label: String,
    /// The curves. Curves without points are left out, and a group without any points gets no panel.
    pub curves: Vec<Curve>,
}

const HEIGHT: u32 = 320;
/// Most points of a curve that are marked. A single point would be invisible as a line, and marks show where epochs are.
const MAX_DOTS: usize = 40;

/// Draws a panel for each group of curves.
///
/// A vertical axis is logarithmic if its values are above zero and span more than a factor of twenty.
///
/// # Errors
/// No points at all.
pub fn curves(title: &str, x_label: &str, groups: &[Curves]) -> Result<Picture> {
    let mut panels: Vec<Panel> = groups.iter().filter_map(panel).collect();
    match panels.last_mut() {
        Some(last) => last.x.label = x_label.into(),
        None => return Err(Error::invalid("the plot", "there are no points to draw")),
    }
    Ok(Picture { title: title.into(), remarks: Vec::new(), panels })
}

fn panel(group: &Curves) -> Option<Panel> {
    let held = |x: f64| x.abs() <= f64::from(f32::MAX);
    let finite = |curve: &Curve| Curve {
        name: curve.name.clone(),
        points: curve.points.iter().copied().filter(|(x, y)| held(*x) && held(*y)).collect(),
    };
    let curves: Vec<Curve> = group.curves.iter().map(finite).filter(|c| !c.points.is_empty()).collect();
    let points = || curves.iter().flat_map(|c| &c.points);
    let (first, last) = range(points().map(|p| p.0))?;
    let (low, high) = range(points().map(|p| p.1))?;
    let exact = Axis::new("", first, last);
    let x = if exact.check().is_ok() { exact } else { Axis::around("", [first, last].into_iter()) };
    let y = if low >= 1e-50 && high / low > 20.0 {
        Axis { label: group.label.clone(), low: low / 1.2, high: high * 1.2, scale: Scale::Log }
    } else {
        Axis::around(group.label.clone(), [low, high].into_iter())
    };
    let mut panel = Panel::new(x, y, HEIGHT);
    for (colour, curve) in curves.into_iter().enumerate() {
        if curve.points.len() <= MAX_DOTS {
            panel = panel.with("", colour, Marks::Dots(curve.points.clone()));
        }
        panel = panel.with(curve.name, colour, Marks::Line(curve.points));
    }
    Some(panel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_drawn_and_the_rest_is_left_out() {
        let curve = |name: &str, points: &[(f64, f64)]| Curve { name: name.into(), points: points.into() };
        let loss = Curves {
            label: "loss".into(),
            curves: vec![curve("training", &[(1.0, 2.0), (2.0, 0.01), (3.0, f64::NAN)]), curve("none", &[])],
        };
        let empty = Curves { label: "empty".into(), curves: vec![curve("nothing", &[])] };
        let picture = curves("a title", "epoch", &[loss, empty.clone()]).unwrap();
        assert_eq!(picture.panels[0].y.scale, Scale::Log);
        let svg = picture.svg().unwrap();
        for part in ["<svg", "a title", "epoch", "loss", "training"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("nothing") && !svg.contains("NaN"));
        assert!(curves("t", "x", &[empty]).is_err());
        let one = Curves { label: "y".into(), curves: vec![curve("one point", &[(1.0, 0.5)])] };
        assert!(curves("t", "x", &[one]).unwrap().svg().unwrap().contains("one point"));
    }

    #[test]
    fn curves_of_any_size_are_drawn() {
        let sizes = [
            [1e-310, 3e-310],
            [1e-45, 3e-45],
            [1e-45, 3e38],
            [0.0, 1e-45],
            [-3e38, 3e38],
            [1.0, 1.0 + 3e-16],
            [3e38, 3.0001e38],
            [1.0, 1e308],
        ];
        for [a, b] in sizes {
            for points in [vec![(1.0, a), (2.0, b)], vec![(a, 1.0), (b, 2.0)]] {
                let group = Curves { label: "y".into(), curves: vec![Curve { name: "c".into(), points }] };
                let svg = curves("t", "x", &[group]).unwrap().svg().unwrap();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{a} {b}");
            }
        }
    }

    #[test]
    fn axes_that_cannot_be_drawn_are_errors() {
        let points = vec![(1.0, 1.0), (2.0, 3.0)];
        let group = Curves { label: "y".into(), curves: vec![Curve { name: "c".into(), points }] };
        let picture = curves("t", "x", &[group]).unwrap();
        let ends =
            [(f64::NAN, 1.0), (0.0, f64::INFINITY), (2.0, 1.0), (1.0, 1.0), (0.0, 1e-310), (0.0, 1e300)];
        for (low, high) in ends {
            for scale in [Scale::Linear, Scale::Log] {
                let mut picture = picture.clone();
                picture.panels[0].y = Axis { label: "wrong".into(), low, high, scale };
                let error = picture.svg().unwrap_err().to_string();
                assert!(error.contains("'wrong'"), "{error}");
            }
        }
    }
}
