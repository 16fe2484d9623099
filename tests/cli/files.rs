//! Files and names from outside: whatever they hold, no other file is overwritten, no terminal is commanded and no memory
//! runs out.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use ndarray::Array3;

use crate::common::messages::Messages;
use crate::program::{NETWORK, bad, files_in, good, project, start};

#[test]
fn names_of_probes_lead_to_no_other_place() {
    let names =
        ["../up", "/abs", "..", "a\\u001b[31mb", "line\\nend", "A", "a", "<svg&>", "nul\\u0000", "x\\u202Ey"];
    let mut toml = "[[node]]\nname = \"c\"\nfunction = \"sin(t)\"\n".to_string();
    for name in names {
        toml.push_str(&format!("[[probe]]\nname = \"{name}\"\ntarget = \"c\"\n"));
    }
    toml.push_str(&format!("[[probe]]\nname = \"{}\"\ntarget = \"c\"\n", "long".repeat(5000)));
    let dir = project(&toml);
    let n = names.len() + 1;
    let run = ["run", "net.toml", "--device", "cpu", "--steps", "10"];
    for (out, format) in [("o", "npy"), ("t", "csv")] {
        let args = [&run[..], &["--out", out, "--format", format, "--plot", "p"]].concat();
        let ended = start(&dir, &args);
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
        for text in [ended.stdout, ended.stderr] {
            let text = String::from_utf8(text).unwrap();
            assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
            assert!(text.lines().all(|line| line.len() < 4000), "{text}");
        }
        assert_eq!(files_in(&dir.path().join(out)).len(), n);
    }
    let svgs = files_in(&dir.path().join("p"));
    assert_eq!(svgs.len(), n);
    for svg in svgs {
        let text = std::fs::read_to_string(dir.path().join("p").join(svg)).unwrap();
        assert!(!text.contains("<svg&>") && text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    }
    good(&dir, &[&run[..], &["--out", "all.npz"]].concat());
    let mut npz =
        ndarray_npy::NpzReader::new(std::fs::File::open(dir.path().join("all.npz")).unwrap()).unwrap();
    let members = npz.names().unwrap();
    assert_eq!(members.len(), n);
    for name in members {
        assert!(!name.contains(['/', '\\', '\0', '\u{1b}', '\n']) && name.len() < 220, "{name:?}");
        assert_eq!(npz.by_name::<_, ndarray::Ix3>(&name).map(|a: Array3<f32>| a.len()).unwrap(), 10);
    }
    // Nothing is outside of what was named.
    assert_eq!(files_in(dir.path()), ["all.npz", "net.toml", "o", "p", "points.csv", "t"]);
}

#[test]
fn messages_hold_nothing_that_commands_a_terminal() {
    let dir = project(&NETWORK.replace("input = \"x\"", "input = \"\\u001b[2J\\u0007y\""));
    let error = bad(&dir, &["train", "net.toml", "--device", "cpu"]);
    assert!(error.chars().all(|c| !c.is_control()) && error.contains("\\u{1b}[2J"), "{error:?}");
    let dir = project(NETWORK);
    std::fs::write(dir.path().join("points.csv"), b"1,2,0\n\x1b]0;x\x07,2,1\n").unwrap();
    let error = bad(&dir, &["train", "net.toml", "--device", "cpu"]);
    assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
    let many: String = (0..5000).map(|i| format!("[[node]]\nname = \"n{i}\"\nconstant = [1]\n")).collect();
    let dir = project(&format!("{many}[[probe]]\nname = \"p\"\ntarget = \"none\"\n"));
    let error = bad(&dir, &["run", "net.toml", "--device", "cpu"]);
    assert!(error.contains("'none'") && error.chars().count() < 2200, "{}", error.len());
}

#[test]
fn files_that_are_no_text_say_what_they_are() {
    let said = Messages::of("files that are no text say what they are");
    let dir = project(NETWORK);
    let wide: Vec<u8> = "\u{feff}seed = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [&wide[..], b"a = \xff"] {
        std::fs::write(dir.path().join("net.toml"), bytes).unwrap();
        said.text(bad(&dir, &["train", "net.toml", "--device", "cpu"]));
    }
}

fn gzip(write: impl FnOnce(&mut GzEncoder<Vec<u8>>)) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    write(&mut packed);
    packed.finish().unwrap()
}

#[test]
fn packed_examples_are_compared_with_the_node_before_they_are_unpacked() {
    let said = Messages::of("packed examples are compared with the node before they are unpacked");
    let dir = project(&NETWORK.replace("points.csv", "points.csv.gz"));
    // Twenty megabytes of rows that are too long.
    let line = format!("{}0\n", "1,".repeat(500));
    let bomb = gzip(|to| (0..20_000).for_each(|_| to.write_all(line.as_bytes()).unwrap()));
    std::fs::write(dir.path().join("points.csv.gz"), bomb).unwrap();
    said.text(bad(&dir, &["train", "net.toml", "--device", "cpu"]));

    let idx = |kind: u8, sides: &[u32]| {
        let mut bytes = vec![0, 0, kind, sides.len() as u8];
        sides.iter().for_each(|side| bytes.extend(side.to_be_bytes()));
        bytes
    };
    let toml = NETWORK.replace("format = \"csv\"\npath = \"points.csv\"", "format = \"idx\"\ndir = \".\"");
    let toml = toml.replace("test = 30\n", "");
    let dir = project(&toml);
    let write = |name: &str, header: Vec<u8>| {
        let packed = gzip(|to| {
            to.write_all(&header).unwrap();
            (0..20).for_each(|_| to.write_all(&[0; 1 << 20]).unwrap());
        });
        std::fs::write(dir.path().join(format!("{name}.gz")), packed).unwrap();
    };
    for part in ["train", "t10k"] {
        write(&format!("{part}-images-idx3-ubyte"), idx(8, &[20, 1024, 1024]));
        write(&format!("{part}-labels-idx1-ubyte"), idx(8, &[20]));
    }
    said.text(bad(&dir, &["train", "net.toml", "--device", "cpu"]));
}

#[test]
fn unwritable_places_are_reported_before_the_run() {
    let said = Messages::of("unwritable places are reported before the run");
    let dir = project(NETWORK);
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("o/params.safetensors")).unwrap();
    std::fs::create_dir_all(path("r/output.npy")).unwrap();
    std::fs::create_dir_all(path("all.npz")).unwrap();
    std::fs::write(path("file"), "").unwrap();
    let long = ["--device", "cpu", "--epochs", "1000000000"];
    said.text(bad(&dir, &[&["train", "net.toml", "--out", "o"], &long[..]].concat()));
    for (option, place) in [
        ("--out", "r"),
        ("--out", "all.npz"),
        ("--out", "file/all.npz"),
        ("--save-params", "file/p.safetensors"),
        ("--save-params", "o/params.safetensors"),
    ] {
        let args =
            ["run", "net.toml", "--device", "cpu", "--examples", "1", "--steps", "1000000000", option, place];
        said.text(bad(&dir, &args));
    }
    good(&dir, &["run", "net.toml", "--device", "cpu", "--out", "missing/deep/all.npz"]);
    assert!(path("missing/deep/all.npz").is_file());
}
