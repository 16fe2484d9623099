//! The rooms of `src/` and their order, held against the `use` lines: no module uses one above it, and no files use each other
//! in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up, as in ARCHITECTURE.md.
const ORDER: [&str; 19] = [
    "error",
    "text",
    "io",
    "engine",
    "solve",
    "shape",
    "expr",
    "graph",
    "neuron",
    "op",
    "optim",
    "plan",
    "network",
    "builder",
    "sim",
    "trainer",
    "simulator",
    "toml",
    "plot",
];

/// A file as the path of its module: `["op", "scan"]`.
type Module = Vec<String>;

struct Source {
    /// Names that the file hands on from elsewhere, with the path they come from.
    handed_on: BTreeMap<String, Vec<String>>,
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// The text without comments, strings' contents aside, up to the unit tests at its end.
fn code(text: &str) -> String {
    let until = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..until].lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree, each name spelled out.
fn spread(tree: &str, prefix: &[String], all: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(tree[..open].split("::").map(str::trim).filter(|s| !s.is_empty()).map(String::from));
        let inner = &tree[open + 1..tree.rfind('}').unwrap()];
        let (mut depth, mut from) = (0, 0);
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    spread(&inner[from..at], &prefix, all);
                    from = at + 1;
                }
                _ => {}
            }
        }
        if !inner[from..].trim().is_empty() {
            spread(&inner[from..], &prefix, all);
        }
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap();
        let own = name.split("::").map(str::trim).filter(|s| !s.is_empty() && *s != "self").map(String::from);
        all.push(prefix.iter().cloned().chain(own).collect());
    }
}

/// A path from the root of the crate; nothing for other crates.
fn from_root(path: &[String], module: &Module, known: &BTreeSet<Module>) -> Option<Vec<String>> {
    let mut base: Vec<String> = match path[0].as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        first => {
            let child: Module = module.iter().cloned().chain([first.to_string()]).collect();
            if !known.contains(&child) {
                return None;
            }
            return Some(module.iter().cloned().chain(path.iter().cloned()).collect());
        }
    };
    for part in &path[1..] {
        match part.as_str() {
            "super" => {
                base.pop();
            }
            part => base.push(part.to_string()),
        }
    }
    Some(base)
}

/// The file that defines what a path names, through those that hand it on.
fn defined_in(path: &[String], sources: &BTreeMap<Module, Source>) -> Option<Module> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|n| sources.contains_key(&path[..*n]))?;
        let module = path[..depth].to_vec();
        let Some(name) = path.get(depth) else { return Some(module) };
        match sources[&module].handed_on.get(name) {
            Some(from) => path = from.iter().chain(&path[depth + 1..]).cloned().collect(),
            None => return Some(module),
        }
    }
    None
}

/// Every file with the files that it uses, but for what it hands on and for its own parts: a module is made of them.
fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let mut texts = BTreeMap::new();
    for path in paths {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Module = relative.iter().map(|part| part.to_str().unwrap().to_string()).collect();
        module.pop_if(|last| last == "mod");
        if !matches!(module[0].as_str(), "cli" | "main" | "lib" | "layers") {
            texts.insert(module, code(&fs::read_to_string(&path).unwrap()));
        }
    }
    let known: BTreeSet<Module> = texts.keys().cloned().collect();
    let (mut sources, mut taken) = (BTreeMap::new(), BTreeMap::new());
    for (module, text) in texts {
        let (mut handed_on, mut all) = (BTreeMap::new(), Vec::new());
        // A `use` ends at the first semicolon, and stands at the start of a line.
        for statement in text.split(';') {
            let Some((public, tree)) = last_use(statement) else { continue };
            let mut paths = Vec::new();
            spread(&tree, &[], &mut paths);
            for path in paths {
                let Some(path) = from_root(&path, &module, &known) else { continue };
                if public {
                    handed_on.insert(path.last().cloned().unwrap_or_default(), path);
                } else {
                    all.push(path);
                }
            }
        }
        // Paths in the code itself.
        for (at, _) in text.match_indices("crate::") {
            let path =
                text[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap();
            let path: Vec<String> = path.split("::").filter(|s| !s.is_empty()).map(String::from).collect();
            if path.len() > 1 {
                all.extend(from_root(&path, &module, &known));
            }
        }
        taken.insert(module.clone(), all);
        sources.insert(module, Source { handed_on });
    }
    let of = |(module, paths): (&Module, &Vec<Vec<String>>)| {
        let found = paths.iter().filter_map(|path| defined_in(path, &sources));
        (module.clone(), found.filter(|other| !other.starts_with(module) && !other.is_empty()).collect())
    };
    taken.iter().map(of).collect()
}

/// The `use` statement that a text ends in: whether it hands its names on, and its tree.
fn last_use(text: &str) -> Option<(bool, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_use = |line: &&str| {
        let public = line.trim_start().strip_prefix("pub").map(str::trim_start);
        let scope = public.and_then(|line| line.strip_prefix('(')?.split_once(')'));
        let line = scope.map_or_else(|| public.unwrap_or(line), |(_, line)| line);
        line.trim_start().starts_with("use ")
    };
    let at = lines.iter().rposition(is_use)?;
    let text = lines[at..].join(" ");
    let (before, tree) = text.trim_start().split_once("use ")?;
    // A line of a message may begin with the word as well.
    let is_path = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c);
    tree.chars().all(is_path).then(|| (before.starts_with("pub"), tree.to_string()))
}

#[test]
fn no_module_uses_one_above_it() {
    let place = |module: &Module| {
        ORDER
            .iter()
            .position(|name| *name == module[0])
            .unwrap_or_else(|| panic!("'{}' has no place in ORDER", module[0]))
    };
    let mut wrong = Vec::new();
    for (module, others) in uses() {
        for other in others.iter().filter(|other| place(other) > place(&module)) {
            wrong.push(format!("{} uses {}", module.join("/"), other.join("/")));
        }
    }
    assert!(wrong.is_empty(), "upward:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut left = uses();
    // A file is in no circle if it uses no file that is left, or if none that is left uses it.
    loop {
        let before = left.len();
        let kept: BTreeSet<Module> = left.keys().cloned().collect();
        left.values_mut().for_each(|others| others.retain(|other| kept.contains(other)));
        left.retain(|_, others| !others.is_empty());
        let used: BTreeSet<Module> = left.values().flatten().cloned().collect();
        left.retain(|module, _| used.contains(module));
        if left.len() == before {
            break;
        }
    }
    let line = |(module, others): (&Module, &BTreeSet<Module>)| {
        format!(
            "{} uses {}",
            module.join("/"),
            others.iter().map(|o| o.join("/")).collect::<Vec<_>>().join(", ")
        )
    };
    assert!(left.is_empty(), "circles:\n{}", left.iter().map(line).collect::<Vec<_>>().join("\n"));
}
