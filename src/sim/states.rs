//! The states that are carried from window to window, on the device.

use std::sync::Arc;

use super::Simulator;
use super::programs::PARAMETERS;
use crate::engine::{Binding, BufferRef, Command, Engine, Program, Recording};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::plan::Carry;

/// Who carries states from window to window. Each has a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StateKey {
    /// Runs, which go on where the last one ended.
    Run,
    /// Predictions for minibatches of this many examples, each from the start.
    Predict(usize),
    /// Training on minibatches of this many examples.
    Train(usize),
    /// Evaluations of the objective on minibatches of this many examples.
    Evaluate(usize),
}

/// Where the states of a graph lie, and what they start from.
pub(super) struct Layout {
    pub carry: Carry,
    pub start: Vec<f32>,
    /// Floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub named: Vec<Named>,
}

/// Where the states of an operator lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub first: usize,
    pub len: usize,
    pub cols: usize,
    pub what: &'static str,
    /// The objects whose states they are, each with as many columns.
    pub owners: Vec<Arc<str>>,
}

impl Named {
    /// What an element is: `the voltage of 'ens'`, its example, and its number.
    fn element(&self, i: usize) -> (String, usize, usize) {
        let (example, column, own) = (i / self.cols, i % self.cols, self.cols / self.owners.len());
        (format!("the {} of '{}'", self.what, self.owners[column / own]), example, column % own)
    }
}

/// States that were read, by where they lie.
pub(super) type Values = Vec<((StateKey, usize), Vec<f32>)>;

/// A state that is not finite.
pub(super) struct BadState {
    /// `the voltage of 'ens'`
    pub what: String,
    pub value: f32,
    /// Its example and its number.
    pub place: String,
}

impl std::fmt::Display for BadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} at {}", self.what, self.value, self.place)
    }
}

impl Layout {
    /// Of a graph whose first `nodes` operators are the network and its losses.
    pub fn new(graph: &Graph, nodes: usize) -> Self {
        let carry = Carry::of(graph);
        let (start, forward) = (carry.start(graph), carry.first(graph, nodes));
        let mut named = Vec::new();
        for node in &graph.nodes[..nodes] {
            let Some(place) = carry.place(node.output) else { continue };
            let mut add = |first, cols, what| {
                let alone = node.shares.is_empty().then(|| node.owner.clone());
                let owners = node.shares.iter().cloned().chain(alone).collect();
                named.push(Named { first, len: graph.dims.batch * cols, cols, what, owners });
            };
            if let Some(first) = place.output {
                add(first, graph.ty(node.output).cols, node.op.name());
            }
            let cols = graph.state_cols(node);
            for (k, state) in node.op.states().iter().enumerate() {
                if let Some(first) = place.states {
                    add(first + k * graph.dims.batch * cols, cols, state.name);
                }
            }
        }
        Self { carry, start, forward, named }
    }
}

/// The states of a network and of its gradient, on the device.
pub(super) struct States {
    /// The shared buffer with the states as they are.
    pub current: usize,
    /// The shared buffer with the states as they start.
    pub initial: usize,
    /// Floats of the network's own states; those of its gradient follow.
    pub forward: usize,
    pub len: usize,
    /// Sets them to their start.
    pub reset: Program,
    pub named: Vec<Named>,
    /// A copy for windows that may fail, and its programs.
    pub backup: Option<Backup>,
    /// What windows of a training need besides.
    pub borders: Option<Borders>,
}

/// A copy of states.
#[derive(Clone)]
pub(super) struct Backup {
    /// The shared buffer.
    buffer: usize,
    pub save: Program,
    pub restore: Program,
}

/// States at the borders of windows, and the programs that save and restore them.
pub(super) struct Borders {
    /// The shared buffer, if there is more than one window to come back to.
    pub buffer: Option<usize>,
    /// Sets the network's own states to their start.
    pub reset_forward: Program,
    /// Sets the gradient's states to zero.
    pub reset_adjoint: Program,
    /// Of the border before window `1 + i`.
    pub save: Vec<Program>,
    pub restore: Vec<Program>,
}

impl Borders {
    /// Frees its programs; gives the shared buffer that is to be freed.
    fn unload(self, engine: &mut dyn Engine) -> Option<usize> {
        let programs = self.save.into_iter().chain(self.restore);
        programs.chain([self.reset_forward, self.reset_adjoint]).for_each(|p| engine.unload(p));
        self.buffer
    }
}

impl Simulator {
    /// The shared buffer that holds, or would hold, states of so many floats.
    pub(super) fn state_buffer(&self, key: StateKey, len: usize) -> usize {
        let new = self.spare.last().copied().unwrap_or(self.shared.len());
        self.states.get(&(key, len)).map_or(new, |s| s.current)
    }

    /// Makes the buffers of [`Simulator::state_buffer`] at their start, on first use.
    pub(super) fn make_states(&mut self, key: StateKey, layout: Layout) -> Result<()> {
        let len = layout.start.len();
        if len == 0 {
            return Ok(());
        }
        if let Some(made) = self.states.get(&(key, len)) {
            // Programs that go on from each other's states must agree where they lie.
            let agree = made.named == layout.named;
            let problem = "its states lie otherwise than those that it goes on from; reset the simulator";
            return if agree { Ok(()) } else { Err(Error::invalid("the program", problem)) };
        }
        let current = self.share(len, "states")?;
        let initial = self.share(len, "states at the start")?;
        for buffer in [current, initial] {
            self.engine.write(self.shared[buffer], 0, &layout.start)?;
        }
        let reset = self.copy("reset", (initial, 0), (current, 0), len)?;
        let Layout { forward, named, .. } = layout;
        let states = States { current, initial, forward, len, reset, named, backup: None, borders: None };
        self.states.insert((key, len), states);
        Ok(())
    }

    /// The copies of all states of `key`, made on first use.
    pub(super) fn backups(&mut self, key: StateKey) -> Result<Vec<Backup>> {
        let keys: Vec<_> = self.states.keys().filter(|(k, _)| *k == key).copied().collect();
        let mut backups = Vec::new();
        for key in keys {
            let (current, len) = (self.states[&key].current, self.states[&key].len);
            let backup = match &self.states[&key].backup {
                Some(backup) => backup.clone(),
                None => {
                    let buffer = self.share(len, "a copy of the states")?;
                    let save = self.copy("save", (current, 0), (buffer, 0), len)?;
                    let restore = self.copy("restore", (buffer, 0), (current, 0), len)?;
                    Backup { buffer, save, restore }
                }
            };
            if let Some(states) = self.states.get_mut(&key) {
                states.backup = Some(backup.clone());
            }
            backups.push(backup);
        }
        Ok(backups)
    }

    /// Makes what a training in windows with `count` saved borders needs, where there are states.
    pub(super) fn make_borders(&mut self, key: (StateKey, usize), count: usize) -> Result<()> {
        let Some(states) = self.states.get_mut(&key) else { return Ok(()) };
        if states.borders.as_ref().is_some_and(|b| b.save.len() >= count) {
            return Ok(());
        }
        let (current, initial, forward, len) = (states.current, states.initial, states.forward, states.len);
        let old = states.borders.take().and_then(|old| old.unload(self.engine.as_mut()));
        old.into_iter().for_each(|buffer| self.unshare(buffer));
        let buffer = match count * forward {
            0 => None,
            floats => Some(self.share(floats, "states at the borders of windows")?),
        };
        let reset_forward = self.copy("reset", (initial, 0), (current, 0), forward)?;
        let (start, now) = ((initial, forward), (current, forward));
        let reset_adjoint = self.copy("reset of the gradient", start, now, len - forward)?;
        let (mut save, mut restore) = (Vec::new(), Vec::new());
        for i in 0..count {
            let border = (buffer.unwrap_or(current), i * forward);
            save.push(self.copy("save", (current, 0), border, forward)?);
            restore.push(self.copy("restore", border, (current, 0), forward)?);
        }
        if let Some(states) = self.states.get_mut(&key) {
            states.borders = Some(Borders { buffer, reset_forward, reset_adjoint, save, restore });
        }
        Ok(())
    }

    /// A program that copies so many floats from one place in the shared buffers (buffer and first float) to another.
    fn copy(&mut self, label: &str, from: (usize, usize), to: (usize, usize), len: usize) -> Result<Program> {
        let at = |(buffer, offset)| Binding { buffer: BufferRef::Shared(buffer), offset, len };
        let copy = (len > 0).then(|| Command::Copy { from: at(from), to: at(to) });
        let commands = copy.into_iter().collect();
        let recording = Recording { label: label.into(), locals: Vec::new(), commands };
        self.engine.load(&recording, &self.shared)
    }

    /// A new shared buffer.
    fn share(&mut self, len: usize, label: &str) -> Result<usize> {
        let buffer = self.engine.allocate(len, label)?;
        let at = self.spare.pop().unwrap_or(self.shared.len());
        if at == self.shared.len() {
            self.shared.push(buffer);
        }
        self.shared[at] = buffer;
        Ok(at)
    }

    /// Frees a shared buffer.
    fn unshare(&mut self, at: usize) {
        self.engine.free(self.shared[at]);
        self.shared[at] = self.shared[PARAMETERS];
        self.spare.push(at);
    }

    /// Frees the states that are not `wanted`.
    pub(super) fn drop_states(&mut self, wanted: impl Fn(&(StateKey, usize)) -> bool) {
        let gone: Vec<States> = self.states.extract_if(.., |key, _| !wanted(key)).map(|(_, s)| s).collect();
        for States { current, initial, reset, backup, borders, .. } in gone {
            self.engine.unload(reset);
            let mut buffers = vec![current, initial];
            if let Some(Backup { buffer, save, restore }) = backup {
                [save, restore].into_iter().for_each(|p| self.engine.unload(p));
                buffers.push(buffer);
            }
            buffers.extend(borders.and_then(|borders| borders.unload(self.engine.as_mut())));
            buffers.into_iter().for_each(|buffer| self.unshare(buffer));
        }
    }

    /// Sets states to their start, those of callbacks too.
    pub(super) fn reset_states(&mut self, key: StateKey) -> Result<()> {
        self.kept.remove(&key);
        let resets: Vec<&Program> =
            self.states.iter().filter(|((k, _), _)| *k == key).map(|(_, s)| &s.reset).collect();
        if resets.is_empty() { Ok(()) } else { self.engine.submit(&resets, None) }
    }

    /// The network's own states of `key`, as they are.
    pub(super) fn read_states(&mut self, key: StateKey) -> Result<Values> {
        let all = self.states.iter().filter(|((of, _), _)| *of == key);
        all.map(|(at, s)| Ok((*at, self.engine.read(self.shared[s.current], 0, s.forward)?))).collect()
    }

    /// Puts states back that were read.
    pub(super) fn write_states(&mut self, values: &Values) -> Result<()> {
        for (at, values) in values {
            if let Some(states) = self.states.get(at) {
                self.engine.write(self.shared[states.current], 0, values)?;
            }
        }
        Ok(())
    }

    /// The first state of `key` that is not finite.
    pub(super) fn bad_state(&mut self, key: StateKey) -> Result<Option<BadState>> {
        let values = self.read_states(key)?;
        Ok(self.bad_among(&values))
    }

    /// The first of states that were read that is not finite.
    pub(super) fn bad_among(&self, values: &Values) -> Option<BadState> {
        values.iter().find_map(|(at, values)| {
            self.states.get(at)?.named.iter().find_map(|state| {
                let own = &values[state.first..state.first + state.len];
                let i = own.iter().position(|x| !x.is_finite())?;
                let (what, example, element) = state.element(i);
                let place = format!("example {example} of the minibatch, element {element}");
                Some(BadState { what, value: own[i], place })
            })
        })
    }
}
