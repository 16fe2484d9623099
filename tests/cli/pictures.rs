//! The pictures that `nengo-wgpu run` and `nengo-wgpu train` draw.

use crate::program::{NETWORK, files_in, good, project, spiking};

#[test]
fn a_run_draws_the_probes_of_outputs() {
    let toml = std::fs::read_to_string(crate::common::root().join("examples/integrator.toml"));
    let more = "[[node]]\nname = \"pulses\"\narray = [[0], [0], [1000], [0], [1000], [0], [0], [0]]\n\
        [[probe]]\nname = \"a b\"\ntarget = \"pulses\"\n[[probe]]\nname = \"a/B\"\ntarget = \"sum\"\n";
    let dir = project(&format!("{}\n{more}", toml.unwrap()));
    let args = ["run", "net.toml", "--device", "cpu", "--steps", "8", "--plot", "new/pictures"];
    let (stdout, _) = good(&dir, &args);
    assert!(stdout.contains("pictures are in new/pictures"), "{stdout}");
    let pictures = dir.path().join("new/pictures");
    let files = ["a_B-2.svg", "a_b-raster.svg", "a_b-rates.svg", "a_b.svg", "sum.svg"];
    assert_eq!(files_in(&pictures), files);
    let svg = std::fs::read_to_string(pictures.join("a_b-raster.svg")).unwrap();
    let marks = svg.lines().filter(|l| l.starts_with("<polyline") && l.contains("#0072B2")).count();
    assert_eq!(marks, 2, "two pulses");
    let rates = std::fs::read_to_string(pictures.join("a_b-rates.svg")).unwrap();
    assert!(rates.contains("mean of 1 that fire: 250 Hz"));
    good(&dir, &[&args[..7], &["png-alone", "--plot-format", "png"]].concat());
    assert_eq!(files_in(&dir.path().join("png-alone")).len(), 5);
    assert!(std::fs::read(dir.path().join("png-alone/sum.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_run_over_examples_draws_the_first_with_its_target() {
    let decay = "[[probe]]\nname = \"weights\"\nnorm = \"class/weights\"\n[data]";
    let dir = project(&NETWORK.replace("[data]", decay));
    good(&dir, &["run", "net.toml", "--device", "cpu", "--steps", "3", "--plot", "p"]);
    assert_eq!(files_in(&dir.path().join("p")), ["output.svg"]);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("example 0 of 30"));
    assert!((0..3).any(|class| svg.contains(&format!("the target is class {class}"))));
    let squared = NETWORK.replace("\"cross-entropy\"", "\"mean-squared\"");
    let dir = project(&squared);
    good(&dir, &["run", "net.toml", "--device", "cpu", "--examples", "1", "--steps", "3", "--plot", "p"]);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("target") && !svg.contains("example 0"));
}

#[test]
fn a_training_draws_its_curves_into_the_given_folder() {
    let dir = project(NETWORK);
    let args = ["train", "net.toml", "--device", "cpu", "--quiet", "--plot", "p", "--plot-format", "both"];
    good(&dir, &args);
    assert_eq!(files_in(&dir.path().join("p")), ["loss.png", "loss.svg", "output.png", "output.svg"]);
    let [a, b] = ["runs/net", "p"].map(|d| std::fs::read(dir.path().join(d).join("loss.svg")).unwrap());
    assert!(a == b);
    let svg = std::fs::read_to_string(dir.path().join("p/output.svg")).unwrap();
    assert!(svg.contains("example 0 of 30") && svg.contains("the target is class"), "{svg}");

    // A probe does not take the curves' place.
    let dir = project(&NETWORK.replace("name = \"output\"", "name = \"Loss\""));
    good(&dir, &args);
    let files = ["Loss-2.png", "Loss-2.svg", "loss.png", "loss.svg"];
    assert_eq!(files_in(&dir.path().join("p")), files);
}

#[test]
fn traces_of_neurons_are_drawn_where_a_probe_reads_their_states() {
    let dir = project(&spiking());
    good(&dir, &["run", "net.toml", "--device", "cpu", "--examples", "2", "--plot", "run"]);
    good(&dir, &["train", "net.toml", "--device", "cpu", "--epochs", "1", "--quiet", "--plot", "train"]);
    for (place, examples) in [("run", 2), ("train", 30)] {
        let place = dir.path().join(place);
        let read = |stem: &str| std::fs::read_to_string(place.join(stem).with_extension("svg")).unwrap();
        let files = files_in(&place);
        for file in ["output.svg", "pause.svg", "spikes.svg", "spikes-raster.svg", "v.svg"] {
            assert!(files.iter().any(|f| f == file), "{file} in {files:?}");
        }
        assert!(!files.contains(&"v-raster.svg".into()) && !files.contains(&"pause-raster.svg".into()));
        for (stem, state, rows) in [("v", "voltage", 40), ("pause", "refractory time", 20)] {
            let svg = read(stem);
            let title = format!("{state} of {stem}");
            let all = [&title, "the first 12 of 14 neurons", &format!("example 0 of {examples}")];
            assert!(all.iter().all(|part| svg.contains(*part)), "{svg}");
            let points = |line: &&str| {
                line.split("points=\"")
                    .nth(1)
                    .map_or(0, |p| p.split_once('"').map_or(0, |p| p.0.split_whitespace().count()))
            };
            let traces = svg.lines().filter(|l| l.starts_with("<polyline") && points(l) == rows).count();
            assert_eq!(traces, 12, "{stem} in {place:?}");
        }
    }
    // The values of a single step are bars, and a probe of every second step has none.
    let one = ["run", "net.toml", "--device", "cpu", "--steps", "1", "--plot", "one"];
    let (_, stderr) = good(&dir, &one);
    assert!(stderr.contains("no picture of probe 'pause'"), "{stderr}");
    let svg = std::fs::read_to_string(dir.path().join("one/v.svg")).unwrap();
    assert!(svg.contains("dimension") && !svg.contains("voltage of v"), "{svg}");
}
