//! Pictures show the values of the arrays, at their place, and nothing else.

use crate::common::messages::Messages;
use ndarray::{Array2, array};
use nengo_wgpu::plot::{
    Curve, Curves, Marks, Picture, curves, decoded, looks_like_spikes, raster, rates, voltages,
};

const DT: f64 = 0.001;
/// The colours of the first and the second series in an SVG.
const FIRST: &str = "#0072B2";
const SECOND: &str = "#D55E00";

type Points = Vec<(f64, f64)>;

/// The points of each line of a colour, in the order of the file.
fn lines(svg: &str, colour: &str) -> Vec<Points> {
    let attribute = |tag: &'static str, tag_text: &str| -> Option<String> {
        let rest = tag_text.split_once(&format!(" {tag}=\""))?.1;
        Some(rest.split_once('"')?.0.to_string())
    };
    let of_colour = |tag: &&str| attribute("stroke", tag).as_deref() == Some(colour);
    let pair = |pair: &str| {
        let (x, y) = pair.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let points = |tag: &str| attribute("points", tag).unwrap().split_whitespace().map(pair).collect();
    svg.split("<polyline").skip(1).filter(of_colour).map(points).collect()
}

/// Neuron `n` fires at each step that `period + n` divides, but every fifth neuron never does.
fn spikes(steps: usize, neurons: usize, period: usize) -> Array2<f32> {
    Array2::from_shape_fn((steps, neurons), |(t, n)| {
        if n % 5 != 4 && (t + 1) % (period + n) == 0 { 1000.0 } else { 0.0 }
    })
}

#[test]
fn each_spike_is_one_mark_at_its_time_and_neuron() {
    let outputs = spikes(500, 12, 10);
    let picture = raster("population", outputs.view(), DT, 100).unwrap();
    assert_eq!(picture.remarks, ["12 neurons"]);
    let marks = lines(&picture.svg().unwrap(), FIRST);
    let mut expected: Points = Vec::new();
    for neuron in 0..12 {
        let fires = (0..500).filter(|&t| outputs[[t, neuron]] != 0.0);
        expected.extend(fires.map(|t| ((t + 1) as f64 * DT, neuron as f64)));
    }
    assert_eq!(marks.len(), expected.len());
    let places: Points = marks.iter().map(|m| (m[0].0, (m[0].1 + m[1].1) / 2.0)).collect();
    // Pixels are a straight function of time and of the neuron's number, upwards.
    let (first, last) = (expected[0], expected[expected.len() - 1]);
    let (from, to) = (places[0], places[places.len() - 1]);
    let (across, up) = ((to.0 - from.0) / (last.0 - first.0), (to.1 - from.1) / (last.1 - first.1));
    assert!(across > 0.0 && up < 0.0);
    for (mark, place, (time, neuron)) in together(&marks, &places, &expected) {
        assert_eq!(mark[0].0, mark[1].0, "a mark stands upright");
        assert!((place.0 - from.0 - across * (time - first.0)).abs() < 16.0, "{place:?} {time}");
        assert!((place.1 - from.1 - up * (neuron - first.1)).abs() < 16.0, "{place:?} {neuron}");
    }
    for (a, b) in places.iter().zip(&places[1..]).filter(|(a, b)| a.1 == b.1) {
        assert!(a.0 < b.0, "later spikes are further right");
    }
}

fn together<'a>(
    marks: &'a [Points],
    places: &'a [(f64, f64)],
    expected: &'a [(f64, f64)],
) -> impl Iterator<Item = (&'a Points, (f64, f64), (f64, f64))> {
    marks.iter().zip(places).zip(expected).map(|((m, p), e)| (m, *p, *e))
}

#[test]
fn neurons_that_are_too_many_are_counted_and_not_drawn() {
    let outputs = spikes(200, 40, 10);
    let picture = raster("p", outputs.view(), DT, 7).unwrap();
    assert_eq!(picture.remarks, ["the first 7 of 40 neurons"]);
    let of_seven = outputs.iter().enumerate().filter(|(i, x)| i % 40 < 7 && **x != 0.0).count();
    assert_eq!(lines(&picture.svg().unwrap(), FIRST).len(), of_seven);
    // Of neurons that always fire, no more than fifty thousand spikes are drawn.
    let picture = raster("p", Array2::ones((20_000, 5)).view(), DT, 100).unwrap();
    assert_eq!(picture.remarks, ["the first 2 of 5 neurons"]);
}

#[test]
fn silence_is_noted_and_empty_arrays_are_errors_with_the_name() {
    let said = Messages::of("silence is noted and empty arrays are errors with the name");
    let silent = Array2::<f32>::zeros((100, 3));
    let svg = raster("quiet", silent.view(), DT, 10).unwrap().svg().unwrap();
    assert!(svg.contains("no spikes") && svg.contains("3 neurons") && lines(&svg, FIRST).is_empty());
    let svg = rates("quiet", silent.view(), DT).unwrap().svg().unwrap();
    assert!(svg.contains("no neuron fires") && svg.contains("3 of 3 neurons silent"));
    assert!(voltages("quiet", silent.view(), DT, 10).unwrap().png().is_ok());
    for empty in [Array2::<f32>::zeros((0, 3)), Array2::zeros((3, 0))] {
        let pictures = [
            raster("quiet", empty.view(), DT, 10),
            rates("quiet", empty.view(), DT),
            decoded("quiet", empty.view(), None, DT, 10),
            voltages("quiet", empty.view(), DT, 10),
        ];
        for picture in pictures {
            said.error(picture);
        }
    }
    for dt in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        said.error(raster("quiet", silent.view(), dt, 10));
    }
}

#[test]
fn values_that_are_not_finite_are_left_out_and_counted() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut some = spikes(60, 4, 10);
        some[[7, 0]] = bad;
        some[[8, 1]] = bad;
        let all = Array2::from_elem((60, 4), bad);
        for outputs in [some.view(), all.view()] {
            assert!(!looks_like_spikes(outputs));
            let pictures = [
                raster("p", outputs, DT, 10).unwrap(),
                rates("p", outputs, DT).unwrap(),
                decoded("p", outputs, Some(outputs), DT, 10).unwrap(),
                voltages("p", outputs, DT, 10).unwrap(),
                decoded("p", outputs.slice(ndarray::s![7..8, ..]), None, DT, 10).unwrap(),
            ];
            for picture in pictures {
                let svg = picture.svg().unwrap();
                assert!(!svg.contains("NaN") && !svg.contains(">inf") && svg.contains("not finite"), "{svg}");
                picture.png().unwrap();
            }
        }
        let spikes_left = some.iter().filter(|x| **x == 1000.0).count();
        let picture = raster("p", some.view(), DT, 10).unwrap();
        assert_eq!(picture.remarks, ["4 neurons", "2 values are not finite"]);
        assert_eq!(lines(&picture.svg().unwrap(), FIRST).len(), spikes_left);
    }
}

#[test]
fn the_output_is_drawn_with_its_target_in_a_panel_for_each_dimension() {
    let said = Messages::of("the output is drawn with its target in a panel for each dimension");
    let target = Array2::from_shape_fn((300, 3), |(t, d)| (0.02 * t as f32 + d as f32).sin());
    let output = target.mapv(|x| x + 0.5);
    let picture = decoded("out", output.view(), Some(target.view()), DT, 2).unwrap();
    assert_eq!(picture.remarks, ["the first 2 of 3 dimensions"]);
    assert_eq!(picture.panels.len(), 2);
    let svg = picture.svg().unwrap();
    let (outputs, targets) = (lines(&svg, FIRST), lines(&svg, SECOND));
    // The legend's strokes are two points long.
    let long = |lines: Vec<Points>| -> Vec<Points> { lines.into_iter().filter(|l| l.len() > 2).collect() };
    let (outputs, targets) = (long(outputs), long(targets));
    assert_eq!((outputs.len(), targets.len()), (2, 2));
    for (o, t) in outputs.iter().zip(&targets) {
        assert_eq!((o.len(), t.len()), (300, 300));
        assert!(o.windows(2).all(|w| w[0].0 < w[1].0));
        let gap = t[0].1 - o[0].1;
        assert!(gap > 50.0, "the output is above its target");
        assert!(o.iter().zip(t).all(|(o, t)| o.0 == t.0 && (t.1 - o.1 - gap).abs() <= 2.0));
    }
    assert!(svg.contains(">\ntarget\n<") && svg.contains(">\noutput\n<"));
    // One row is held.
    let held = decoded("out", output.view(), Some(array![[1.0, 0.0, 2.0]].view()), DT, 1).unwrap();
    let line = &long(lines(&held.svg().unwrap(), SECOND))[0];
    assert!(line.len() == 300 && line.iter().all(|p| p.1 == line[0].1));
    let error = decoded("out", output.view(), Some(target.slice(ndarray::s![..7, ..])), DT, 2).unwrap_err();
    said.text(error.to_string());
}

#[test]
fn a_value_that_is_not_finite_leaves_a_gap() {
    let mut output = Array2::from_shape_fn((100, 1), |(t, _)| t as f32);
    output[[40, 0]] = f32::NAN;
    let runs = lines(&decoded("x", output.view(), None, DT, 1).unwrap().svg().unwrap(), FIRST);
    assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [40, 59]);
}

#[test]
fn a_long_trace_keeps_its_peaks() {
    let mut output = Array2::<f32>::zeros((1_000_000, 1));
    output[[123_456, 0]] = 7.0;
    output[[123_459, 0]] = -3.0;
    let picture = decoded("x", output.view(), None, DT, 1).unwrap();
    let Marks::Line(points) = &picture.panels[0].series[0].marks else { panic!("no line") };
    assert!(points.len() <= 4000);
    assert!(points.windows(2).all(|w| w[0].0 < w[1].0));
    let at = |value: f64| points.iter().find(|p| p.1 == value).unwrap().0;
    assert_eq!((at(7.0), at(-3.0)), (123_457.0 * DT, 123_460.0 * DT));
}

#[test]
fn a_single_step_is_drawn_as_bars() {
    let picture = decoded("class", array![[0.1, -0.7, 2.0]].view(), None, DT, 8).unwrap();
    let Marks::Bars(bars) = &picture.panels[0].series[0].marks else { panic!("no bars") };
    let heights: Vec<f64> = bars.iter().map(|b| b.2).collect();
    assert!(heights.iter().zip([0.1, -0.7, 2.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{heights:?}");
    assert!(bars.iter().zip(0..).all(|(b, i)| b.0 < f64::from(i) && f64::from(i) < b.1));
}

#[test]
fn voltages_of_neurons_do_not_cross() {
    let v = Array2::from_shape_fn((200, 5), |(t, n)| ((t + 3 * n) % (20 + n)) as f32 / 13.0);
    let picture = voltages("population", v.view(), DT, 4).unwrap();
    assert_eq!(picture.remarks, ["the first 4 of 5 neurons"]);
    let traces: Vec<&Points> = picture.panels[0]
        .series
        .iter()
        .map(|s| match &s.marks {
            Marks::Line(points) => points,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(traces.len(), 4);
    for pair in traces.windows(2) {
        let highest = pair[0].iter().map(|p| p.1).fold(f64::MIN, f64::max);
        let lowest = pair[1].iter().map(|p| p.1).fold(f64::MAX, f64::min);
        assert!(highest <= lowest, "{highest} {lowest}");
    }
    // The distance is the same for all, so that each trace can be read from its own zero.
    let apart = traces[1][0].1 - f64::from(v[[0, 1]]);
    assert!((traces[3][0].1 - f64::from(v[[0, 3]]) - 3.0 * apart).abs() < 1e-9);
}

#[test]
fn the_histogram_counts_each_neuron_once_and_marks_the_mean() {
    // Neurons that fire 10, 20 ... 90 times in a second, and three that never do.
    let outputs = Array2::from_shape_fn((1000, 12), |(t, n)| {
        if n < 9 && t % 100 < 10 * (n + 1) && t % 10 == 0 { 1000.0 } else { 0.0 }
    });
    let picture = rates("population", outputs.view(), DT).unwrap();
    assert_eq!(picture.remarks, ["3 of 12 neurons silent", "over 1 s"]);
    let [bars, mean] = &picture.panels[0].series[..] else { panic!("two series") };
    let Marks::Bars(bars) = &bars.marks else { panic!("no bars") };
    assert_eq!(bars.iter().map(|b| b.2).sum::<f64>(), 9.0);
    for rate in (1..=9).map(|n| 10.0 * f64::from(n)) {
        let holds = |b: &&(f64, f64, f64)| b.0 <= rate + 1e-9 && rate <= b.1 + 1e-9;
        assert!(bars.iter().any(|b| holds(&b)), "{rate}");
    }
    let Marks::Line(line) = &mean.marks else { panic!("no line") };
    assert!(line.iter().all(|p| (p.0 - 50.0).abs() < 1e-9), "{line:?}");
    assert!(mean.name.contains("50 Hz"), "{}", mean.name);
    assert_eq!(picture.svg().unwrap().matches("fill=\"#0072B2\"").count(), bars.len());
}

#[test]
fn a_png_has_the_right_size_and_letters() {
    let dir = tempfile::tempdir().unwrap();
    let decode = |title: &str| {
        let points = vec![(0.0, 1.0), (1.0, 2.0)];
        let group = Curves { label: "y".into(), curves: vec![Curve { name: "curve".into(), points }] };
        let picture = curves(title, "x", &[group]).unwrap();
        let path = dir.path().join("picture.PNG");
        picture.save(&path).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let (width, height) = picture.size();
        assert_eq!((info.width, info.height), (2 * width, 2 * height));
        (pixels, 3 * info.width as usize * 100)
    };
    let ((plain, head), (titled, _)) = (decode(""), decode("spikes of µ"));
    let dark = |pixels: &[u8]| pixels.chunks(3).filter(|p| p.iter().all(|x| *x < 128)).count();
    assert_eq!(dark(&plain[..head]), 0);
    assert!(dark(&titled[..head]) > 200, "{}", dark(&titled[..head]));
    assert!(plain[head..] == titled[head..], "the title changes the head alone");
    assert!(plain.chunks(3).any(|p| p == [0, 114, 178]), "the curve is there");
}

#[test]
fn sharp_corners_stay_inside_their_panel_in_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("picture.png");
    // From one step to the next up and down again, which a long mitre would carry far beyond the panel.
    let values = Array2::from_shape_fn((3000, 1), |(t, _)| if t % 37 == 0 { 1.0 } else { 0.0 });
    decoded("p", values.view(), None, 0.001, 1).unwrap().save(&path).unwrap();
    let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let blue = |p: &[u8]| p[2] > 140 && p[0] < 60;
    let rows = pixels.chunks(3 * info.width as usize).enumerate();
    let rows: Vec<usize> = rows.filter(|(_, row)| row.chunks(3).any(blue)).map(|(y, _)| y).collect();
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    assert!(first >= 2 * 60, "the head is free: {first}");
    assert!(last < info.height as usize - 2 * 48, "the axis below is free: {last}");
    // The peaks are thin: most of the panel is white.
    let all = pixels.chunks(3).filter(|p| blue(p)).count();
    assert!(all < pixels.len() / 3 / 5, "{all} of {}", pixels.len() / 3);
}

#[test]
fn the_extension_decides_and_an_unknown_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let said = Messages::of("the extension decides and an unknown one is an error")
        .hide(dir.path().display(), "DIR");
    let picture = raster("p", spikes(50, 3, 5).view(), DT, 10).unwrap();
    for name in ["a.jpg", "a", "svg", "a.svg.gz"] {
        said.error(picture.save(dir.path().join(name)));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    picture.save(dir.path().join("a.svg")).unwrap();
    assert!(std::fs::read_to_string(dir.path().join("a.svg")).unwrap().starts_with("<svg width=\"800\""));
    picture.save(dir.path().join("a.png")).unwrap();
    assert!(std::fs::read(dir.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn names_of_any_characters_make_a_whole_svg() {
    let name = format!("<b>&\"\u{1}\n{}", "long ".repeat(100));
    let picture = raster(&name, spikes(50, 3, 5).view(), DT, 10).unwrap().remark("a & b");
    let svg = picture.svg().unwrap();
    assert!(svg.contains("&lt;b&gt;&amp;") && svg.contains("a &amp; b") && !svg.contains('\u{1}'));
    assert!(svg.lines().all(|line| line.len() < 1000));
    picture.png().unwrap();
}

#[test]
fn spikes_are_distinguished_from_other_outputs() {
    let fires = spikes(100, 6, 3);
    assert!(looks_like_spikes(fires.view()));
    assert!(looks_like_spikes(fires.mapv(|x| x * 0.37).view()), "of another amplitude");
    let filtered = Array2::from_shape_fn((100, 1), |(t, _)| if t < 60 { 0.0 } else { 1.0 / t as f32 });
    let others = [
        filtered,
        Array2::zeros((100, 2)),
        Array2::ones((100, 2)),
        fires.mapv(|x| -x),
        fires.mapv(|x| if x > 0.0 { 0.0 } else { x + 1.0 }),
        fires.mapv(|x| if x > 0.0 { f32::INFINITY } else { x }),
        // One step, as of a network without time.
        array![[0.0, 0.0, 1.0]],
    ];
    for (i, other) in others.iter().enumerate() {
        assert!(!looks_like_spikes(other.view()), "{i}");
    }
}

#[test]
fn equal_arrays_give_equal_files() {
    let picture = || -> Picture { raster("p", spikes(50, 3, 5).view(), DT, 10).unwrap() };
    assert_eq!(picture().svg().unwrap(), picture().svg().unwrap());
    assert!(picture().png().unwrap() == picture().png().unwrap());
}
