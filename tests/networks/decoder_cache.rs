//! Many systems at once, and decoders kept on disk.

use crate::common::messages::Messages;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, array, s};
use nengo_wgpu::Error;
use nengo_wgpu::internals::solve::{Cache, Job, Key, Method, Solution, Solver, solve_all};

fn activities(i: usize) -> Array2<f64> {
    Array2::from_shape_fn((20, 3), |(point, neuron)| ((point + i) % (neuron + 2)) as f64 + 1.0)
}

fn targets() -> Array2<f64> {
    Array2::from_shape_fn((20, 2), |(point, column)| (point as f64 - 10.0) * (column as f64 + 0.5))
}

fn key(i: usize) -> Key {
    Key::new().text("which", &i.to_string()).array("activities", activities(i).view())
}

/// Jobs that count how often their systems are made.
fn jobs(n: usize, made: &AtomicUsize) -> Vec<Job<'_>> {
    let job = |i: usize| Job {
        what: format!("connection {i}"),
        solver: Solver::default(),
        seed: 0,
        of: "ensemble 'a'".into(),
        shape: (3, 2),
        points: 20,
        key: Some(key(i)),
        system: Box::new(move |points| {
            made.fetch_add(1, Ordering::Relaxed);
            Ok((
                activities(i).slice(s![points.clone(), ..]).to_owned(),
                targets().slice(s![points, ..]).to_owned(),
            ))
        }),
        silent: Box::new(|| "all are silent".into()),
    };
    (0..n).map(job).collect()
}

/// The solutions, and how many systems were made for them.
fn solve(n: usize, cache: &Cache) -> (Vec<Solution>, usize) {
    let made = AtomicUsize::new(0);
    let solutions = solve_all(&jobs(n, &made), cache, None, &|_, _| ()).unwrap();
    (solutions, made.into_inner())
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn solutions_come_in_the_order_of_the_jobs_and_progress_counts_them() {
    let made = AtomicUsize::new(0);
    let heard = RefCell::new(Vec::new());
    let progress = |done, total| heard.borrow_mut().push((done, total));
    let solutions = solve_all(&jobs(25, &made), &Cache::off(), None, &progress).unwrap();
    assert_eq!(heard.into_inner(), (1..=25).map(|done| (done, 25)).collect::<Vec<_>>());
    for (i, solution) in solutions.iter().enumerate() {
        let alone = Solver::default().solve("it", activities(i).view(), targets().view(), 0).unwrap();
        assert_eq!(solution, &alone);
    }
    assert_eq!(made.into_inner(), 25);
    assert_eq!(solve_all(&[], &Cache::off(), None, &|_, _| ()).unwrap(), []);
}

#[test]
fn a_system_beyond_the_memory_is_refused_with_the_ensemble_both_numbers_and_what_fits() {
    let made = AtomicUsize::new(0);
    let needed = jobs(1, &made)[0].bytes();
    assert_eq!(solve_all(&jobs(9, &made), &Cache::off(), Some(needed), &|_, _| ()).unwrap().len(), 9);
    let large = Job { shape: (30_000, 1), points: 60_000, ..jobs(1, &made).remove(0) };
    let needed = large.bytes();
    // The matrix of all neurons with all is most of it; the activities at all points would be 14.4 GB.
    assert!((7.2e9..7.6e9).contains(&(needed as f64)), "{needed}");
    let message =
        solve_all(&[large], &Cache::off(), Some(6_000_000_000), &|_, _| ()).unwrap_err().to_string();
    let parts =
        ["connection 0", "ensemble 'a' with 30000 neurons at 60000 points", "6000000000", "n-eval-points"];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    assert!(message.contains(&needed.to_string()) && !message.contains('\n'), "{message}");
    assert_eq!(made.into_inner(), 9, "nothing of the large system is made");
}

#[test]
fn a_system_that_is_added_up_in_blocks_has_the_decoders_of_the_whole() {
    let (n, m) = (1200, 8000);
    // Rates over a line, some neurons silent everywhere.
    let rate = |point: usize, neuron: usize| {
        let (x, at) = (point as f64 / m as f64, neuron as f64 / 1100.0);
        200.0 * (if neuron.is_multiple_of(2) { x - at } else { 1.0 - at - x }).max(0.0)
    };
    let whole = Array2::from_shape_fn((m, n), |(point, neuron)| rate(point, neuron));
    let values = Array2::from_shape_fn((m, 2), |(point, k)| (point as f64 / m as f64).powi(1 + k as i32));
    let blocks = AtomicUsize::new(0);
    for method in [Method::LstsqL2 { reg: 0.1 }, Method::LstsqL2nz { reg: 0.1 }] {
        let (whole, values, blocks) = (&whole, &values, &blocks);
        let job = Job {
            what: "it".into(),
            of: "ensemble 'a'".into(),
            solver: method.clone().into(),
            seed: 0,
            shape: (n, 2),
            points: m,
            key: None,
            system: Box::new(move |points| {
                blocks.fetch_add(1, Ordering::Relaxed);
                let of = |all: &Array2<f64>| all.slice(s![points.clone(), ..]).to_owned();
                Ok((of(whole), of(values)))
            }),
            silent: Box::new(String::new),
        };
        let found = solve_all(&[job], &Cache::off(), None, &|_, _| ()).unwrap().remove(0);
        let wanted = Solver::from(method).solve("it", whole.view(), values.view(), 0).unwrap();
        let scale = wanted.decoders.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        assert!((&found.decoders - &wanted.decoders).iter().all(|x| x.abs() < 1e-9 * scale));
        assert!(found.rmse.iter().zip(&wanted.rmse).all(|(a, b)| (a - b).abs() < 1e-7), "{:?}", found.rmse);
    }
    assert_eq!(blocks.into_inner(), 4, "two blocks each");
}

#[test]
fn the_first_error_in_the_order_of_the_jobs_is_returned() {
    let said = Messages::of("the first error in the order of the jobs is returned");
    let made = AtomicUsize::new(0);
    let mut jobs = jobs(30, &made);
    for i in [4, 20] {
        jobs[i].system =
            Box::new(move |_| Err(Error::invalid(format!("connection {i}"), "it has no function")));
    }
    said.error(solve_all(&jobs, &Cache::off(), None, &|_, _| ()));
    jobs[4].system = Box::new(|_| Ok((Array2::ones((20, 5)), targets())));
    said.error(solve_all(&jobs, &Cache::off(), None, &|_, _| ()));
}

#[test]
fn cached_decoders_are_bit_identical_and_build_no_system() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("of/decoders"));
    let (first, made) = solve(10, &cache);
    assert_eq!(made, 10);
    let (second, made) = solve(12, &cache);
    assert_eq!(made, 2);
    assert_eq!(first[..], second[..10]);
    assert_eq!(solve(12, &Cache::off()), (second, 12));
}

#[test]
fn anything_that_enters_makes_another_key() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let made = AtomicUsize::new(0);
    let matrix = array![[1.0, 2.0, 3.0, 4.0]];
    let of = |rows, cols| Key::new().array("a", matrix.to_shape((rows, cols)).unwrap().view());
    let plain = Solver::default();
    let reg = |reg| Solver::from(Method::LstsqL2 { reg });
    let noise = Solver::from(Method::LstsqNoise { noise: 0.1 });
    let cases = [
        (of(1, 4), &plain, 0),
        (of(2, 2), &plain, 0),
        (of(4, 1), &plain, 0),
        (of(1, 4), &plain, 1),
        (of(1, 4), &reg(0.1 + 1e-16), 0),
        (of(1, 4), &reg(0.1 + 5e-18), 0), // the same number as 0.1
        (of(1, 4), &noise, 0),
        (Key::new().array("b", matrix.view()), &plain, 0),
        (Key::new().array("a", (&matrix + 1e-15).view()), &plain, 0),
        (Key::new().text("a", "bc"), &plain, 0),
        (Key::new().text("ab", "c"), &plain, 0),
        (Key::new().text("a", "").text("bc", ""), &plain, 0),
        (Key::new(), &plain, 0),
    ];
    for (key, solver, seed) in &cases {
        let job = jobs(1, &made).remove(0);
        let job = Job { key: Some(key.clone()), solver: (*solver).clone(), seed: *seed, ..job };
        solve_all(&[job], &cache, None, &|_, _| ()).unwrap();
    }
    assert_eq!(made.into_inner(), cases.len() - 1);
}

#[test]
fn whatever_is_not_exactly_a_solution_is_solved_for_again_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let (wanted, _) = solve(1, &cache);
    let path = files(dir.path()).remove(0);
    let good = std::fs::read(&path).unwrap();
    let mut others: Vec<Vec<u8>> = (0..good.len())
        .map(|i| {
            let mut bytes = good.clone();
            bytes[i] ^= 0x40;
            bytes
        })
        .collect();
    others.extend([
        vec![],
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), b"0"].concat(),
        vec![0; 1 << 20],
    ]);
    for bytes in others {
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(solve(1, &cache), (wanted.clone(), 1));
        assert_eq!(std::fs::read(&path).unwrap(), good);
    }
    assert_eq!(solve(1, &cache), (wanted, 0));
}

#[test]
fn a_file_of_another_key_or_shape_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let (wanted, _) = solve(2, &cache);
    let both = files(dir.path());
    let contents: Vec<Vec<u8>> = both.iter().map(|path| std::fs::read(path).unwrap()).collect();
    std::fs::write(&both[0], &contents[1]).unwrap();
    std::fs::write(&both[1], &contents[0]).unwrap();
    assert_eq!(solve(2, &cache), (wanted, 2));
    let made = AtomicUsize::new(0);
    let job = Job { shape: (2, 3), ..jobs(1, &made).remove(0) };
    assert!(solve_all(&[job], &cache, None, &|_, _| ()).is_err());
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_to_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, b"").unwrap();
    let cache = Cache::at(file.join("decoders"));
    assert_eq!(solve(3, &cache).1, 3);
    assert_eq!(solve(3, &cache).1, 3);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_cache_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    solve(1, &cache);
    let path = files(&dir.path().join("cache")).remove(0);
    let moved = dir.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &path).unwrap();
    assert_eq!(solve(1, &cache).1, 1);
}

#[test]
fn the_oldest_files_are_dropped_beyond_the_limit_and_other_files_never() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("notes.txt");
    std::fs::write(&other, vec![b'x'; 5000]).unwrap();
    let cache = Cache::at(dir.path());
    solve(6, &cache);
    let size = std::fs::metadata(&files(dir.path())[0]).unwrap().len();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let mut ours: Vec<PathBuf> = files(dir.path()).into_iter().filter(|path| *path != other).collect();
    assert_eq!(ours.len(), 6);
    for path in &ours[..3] {
        std::fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    // One more makes seven; the limit has room for four.
    solve(7, &cache.limit(4 * size + 10));
    let left = files(dir.path());
    assert!(left.contains(&other));
    assert_eq!(left.len(), 5);
    assert!(ours.drain(..3).all(|path| !left.contains(&path)), "the three oldest are gone");
    assert!(ours.iter().all(|path| left.contains(path)));
}

#[test]
fn a_cache_that_is_off_keeps_nothing_and_given_decoders_are_not_kept() {
    assert_eq!(Cache::off().directory(), None);
    let dir = tempfile::tempdir().unwrap();
    let made = AtomicUsize::new(0);
    for _ in 0..2 {
        let job = jobs(1, &made).remove(0);
        let job = Job { solver: Method::NoSolver { values: None }.into(), ..job };
        solve_all(&[job], &Cache::at(dir.path()), None, &|_, _| ()).unwrap();
    }
    assert_eq!(made.into_inner(), 2);
    assert!(files(dir.path()).is_empty());
}
