//! States on the device: allocated, reset, saved, restored, read and freed.

use crate::engine::{Binding, BufferRef, Command, Program, Recording};
use crate::error::{Error, Result};
use crate::sim::core::Core;
use crate::sim::states::{Backup, Borders, NonFiniteState, StateKey, StateLayout, StateValues, States};

impl Core {
    /// The shared buffer of states of `len` floats, or the one that it will get.
    pub(crate) fn state_buffer(&self, key: StateKey, len: usize) -> usize {
        self.states.get(&(key, len)).map_or(self.shared.next(), |s| s.current)
    }

    /// Allocates the buffers of [`Core::state_buffer`] with initial values, on first use.
    pub(crate) fn make_states(&mut self, key: StateKey, layout: StateLayout) -> Result<()> {
        let len = layout.start.len();
        if len == 0 {
            return Ok(());
        }
        if let Some(made) = self.states.get(&(key, len)) {
            // Programs that continue from each other's states need the same layout.
            let agree = made.named == layout.named;
            let problem = "its states have another layout than those of the last run; reset the simulator";
            return if agree { Ok(()) } else { Err(Error::invalid("the program", problem)) };
        }
        let current = self.share(len, "states")?;
        let initial = self.share(len, "states at the start")?;
        for buffer in [current, initial] {
            self.engine.write(self.shared.at(buffer), 0, &layout.start)?;
        }
        let reset = self.copy("reset", (initial, 0), (current, 0), len)?;
        let StateLayout { forward, named, .. } = layout;
        let states = States { current, initial, forward, len, reset, named, backup: None, borders: None };
        self.states.insert((key, len), states);
        Ok(())
    }

    /// Copies of all states of `key`; allocated on first use.
    pub(crate) fn backups(&mut self, key: StateKey) -> Result<Vec<Backup>> {
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

    /// Allocates `count` saved borders for training in windows, and loads their programs. Does nothing without states.
    pub(crate) fn make_borders(&mut self, key: (StateKey, usize), count: usize) -> Result<()> {
        let Some(states) = self.states.get_mut(&key) else { return Ok(()) };
        if states.borders.as_ref().is_some_and(|b| b.save.len() >= count) {
            return Ok(());
        }
        let (current, initial, forward, len) = (states.current, states.initial, states.forward, states.len);
        let old = states.borders.take().and_then(|old| old.unload(self.engine.as_mut()));
        old.into_iter().for_each(|buffer| self.shared.free(buffer, self.engine.as_mut()));
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

    /// A program that copies `len` floats between two places (buffer and first float) of the shared buffers.
    fn copy(&mut self, label: &str, from: (usize, usize), to: (usize, usize), len: usize) -> Result<Program> {
        let binding = |(buffer, offset)| Binding { buffer: BufferRef::Shared(buffer), offset, len };
        let copy = (len > 0).then(|| Command::Copy { from: binding(from), to: binding(to) });
        let commands = copy.into_iter().collect();
        let recording = Recording { label: label.into(), locals: Vec::new(), commands };
        self.engine.load(&recording, self.shared.all())
    }

    /// Allocates a shared buffer and returns its place.
    fn share(&mut self, len: usize, label: &str) -> Result<usize> {
        let buffer = self.engine.allocate(len, label)?;
        Ok(self.shared.add(buffer))
    }

    /// Frees all states but those that are `wanted`.
    pub(crate) fn drop_states(&mut self, wanted: impl Fn(&(StateKey, usize)) -> bool) {
        let gone: Vec<States> = self.states.extract_if(.., |key, _| !wanted(key)).map(|(_, s)| s).collect();
        for States { current, initial, reset, backup, borders, .. } in gone {
            self.engine.unload(reset);
            let mut buffers = vec![current, initial];
            if let Some(Backup { buffer, save, restore }) = backup {
                [save, restore].into_iter().for_each(|p| self.engine.unload(p));
                buffers.push(buffer);
            }
            buffers.extend(borders.and_then(|borders| borders.unload(self.engine.as_mut())));
            buffers.into_iter().for_each(|buffer| self.shared.free(buffer, self.engine.as_mut()));
        }
    }

    /// Resets states, and those of host callbacks.
    pub(crate) fn reset_states(&mut self, key: StateKey) -> Result<()> {
        self.kept.remove(&key);
        let resets: Vec<&Program> =
            self.states.iter().filter(|((k, _), _)| *k == key).map(|(_, s)| &s.reset).collect();
        if resets.is_empty() { Ok(()) } else { self.engine.submit(&resets, None) }
    }

    /// Current values of the network's own states of `key`.
    pub(crate) fn read_states(&mut self, key: StateKey) -> Result<StateValues> {
        let chosen = self.states.iter().filter(|((other, _), _)| *other == key);
        chosen.map(|(at, s)| Ok((*at, self.engine.read(self.shared.at(s.current), 0, s.forward)?))).collect()
    }

    /// Restores states that were read.
    pub(crate) fn write_states(&mut self, values: &StateValues) -> Result<()> {
        for (at, values) in values {
            if let Some(states) = self.states.get(at) {
                self.engine.write(self.shared.at(states.current), 0, values)?;
            }
        }
        Ok(())
    }

    /// The first state of `key` that is not finite.
    pub(crate) fn nonfinite_state(&mut self, key: StateKey) -> Result<Option<NonFiniteState>> {
        let values = self.read_states(key)?;
        Ok(self.nonfinite_among(&values))
    }

    /// The first of `values` that is not finite.
    pub(crate) fn nonfinite_among(&self, values: &StateValues) -> Option<NonFiniteState> {
        values.iter().find_map(|(at, values)| {
            self.states.get(at)?.named.iter().find_map(|state| {
                let own = &values[state.first..state.first + state.len];
                let i = own.iter().position(|x| !x.is_finite())?;
                let (what, example, element) = state.element(i);
                let place = format!("example {example} of the minibatch, element {element}");
                Some(NonFiniteState { what, value: own[i], place })
            })
        })
    }
}
