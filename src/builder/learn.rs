//! Learning rules: the weights that they change instead of a parameter, and the signals of their updates.
//!
//! A step's update acts from the next step on, so each signal of a rule enters one step late, through a delay or a delaying
//! filter. These are opened before everything else is built and closed at the end, so a rule may depend on the effect of its
//! own weights. Undelayed signals exist only for probes.

use std::sync::Arc;

use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::graph::{Operator, Scope, Source, State, Tensor, Type};
use crate::network::{Columns, LearningRule, Link, Network, Place, Rule, Synapse, Weights};
use crate::op::filter::filter;
use crate::op::learn::CHANGE;
use crate::op::{Delay, Learn, Pattern};

/// A signal that a rule's update depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Signal {
    /// Error brought by connections.
    Error,
    /// Pre activities.
    Pre,
    /// Post activities.
    Post,
    /// Threshold of the post activities.
    Theta,
    /// Input of the encoders.
    Input,
    /// `P a` of RLS.
    Product,
    /// `P a / (1 + aᵀ P a)` of RLS.
    Gain,
}

/// A rule under construction.
#[derive(Clone)]
pub(super) struct Learning<'s> {
    /// Index of its connection.
    link: usize,
    rule: Rule,
    /// Signals of its update, one step late.
    late: Vec<(Signal, Tensor<'s>)>,
    /// Product with the weights that it changes.
    pub product: Option<Tensor<'s>>,
    /// [`Signal::Product`] and [`Signal::Gain`] of this step, for RLS.
    inverse: Option<[Tensor<'s>; 2]>,
}

/// An update `W[i, j] += u[i] v[j] - decay[i] W[i, j]`.
struct Change<'s> {
    u: Tensor<'s>,
    v: Tensor<'s>,
    decay: Option<Tensor<'s>>,
}

impl Learning<'_> {
    /// The weights that it changes.
    pub fn changes(&self) -> Weights {
        self.rule.changes
    }
}

impl Rule {
    /// Signals of its update.
    fn parts(&self) -> &'static [Signal] {
        match self.spec {
            LearningRule::Pes { .. } => &[Signal::Error, Signal::Pre],
            LearningRule::Rls { .. } => &[Signal::Error, Signal::Product, Signal::Gain],
            LearningRule::Bcm { .. } => &[Signal::Pre, Signal::Post, Signal::Theta],
            LearningRule::Oja { .. } => &[Signal::Pre, Signal::Post],
            LearningRule::Voja { .. } => &[Signal::Error, Signal::Input, Signal::Post],
        }
    }

    /// Filter of a signal.
    fn synapse(&self, signal: Signal) -> Option<&Synapse> {
        use LearningRule::*;
        match (&self.spec, signal) {
            (
                Pes { pre_synapse: synapse, .. }
                | Rls { pre_synapse: synapse, .. }
                | Bcm { pre_synapse: synapse, .. }
                | Oja { pre_synapse: synapse, .. },
                Signal::Pre,
            )
            | (
                Bcm { post_synapse: synapse, .. }
                | Oja { post_synapse: synapse, .. }
                | Voja { post_synapse: synapse, .. },
                Signal::Post,
            )
            | (Bcm { theta_synapse: synapse, .. }, Signal::Theta) => synapse.as_ref(),
            _ => None,
        }
    }

    /// Number of columns of a signal.
    fn cols(&self, network: &Network, signal: Signal) -> Result<usize> {
        let changed = network.place_of(self.changes)?;
        Ok(match signal {
            Signal::Error => self.input.map_or(1, |input| network.objects[input.0].size_out),
            Signal::Post | Signal::Theta => changed.rows,
            Signal::Pre | Signal::Input | Signal::Product | Signal::Gain => changed.cols,
        })
    }
}

fn owner(link: &Link) -> String {
    format!("the learning rule of connection '{}'", link.name)
}

/// All rules, with their late signals open.
pub(super) fn open<'s>(network: &Network, scope: &'s Scope, dt: f64) -> Result<Vec<Learning<'s>>> {
    let mut all = Vec::new();
    for (i, link) in network.links.iter().enumerate() {
        let Some(rule) = link.rule.clone() else { continue };
        scope.set_owner(&link.name);
        let mut late = Vec::new();
        for &part in rule.parts() {
            let op: Arc<dyn Operator> = match rule.synapse(part) {
                Some(synapse) => Arc::new(filter(&synapse.discretise(&owner(link), dt)?, true)),
                None => Arc::new(Delay { backward: false }),
            };
            late.push((part, scope.open(op, Type::sequence(rule.cols(network, part)?))));
        }
        all.push(Learning { link: i, rule, late, product: None, inverse: None });
    }
    Ok(all)
}

impl<'s> Builder<'_, 's> {
    /// Closes the late signals with their sources.
    pub(super) fn close_rules(&mut self) -> Result<()> {
        for r in 0..self.rules.len() {
            for (part, late) in self.rules[r].late.clone() {
                let value = self.unfiltered(r, part)?;
                self.scope.set_owner(&self.network.links[self.rules[r].link].name);
                self.scope.close(late, value);
            }
        }
        Ok(())
    }

    /// The product of `x` with these weights, if a rule changes them.
    pub(super) fn learned(&mut self, weights: Weights, x: Tensor<'s>) -> Result<Option<Tensor<'s>>> {
        let Some(&r) = self.changing.get(&weights) else { return Ok(None) };
        if let Some(product) = self.rules[r].product {
            return Ok(Some(product));
        }
        let Change { u, v, decay } = self.change(r, &self.rules[r].late.clone())?;
        let changed = self.network.place_of(weights)?;
        self.scope.set_owner(changed.owner);
        let learn = Learn {
            rows: changed.rows,
            cols: changed.cols,
            decays: decay.is_some(),
            based: true,
            change: [State::at(CHANGE, 0.0)],
        };
        let base = self.parameter(&changed.parameter)?;
        let inputs: Vec<Tensor<'s>> = [x, u, v].into_iter().chain(decay).chain([base]).collect();
        let product = self.scope.apply(learn, &inputs);
        self.rules[r].product = Some(product);
        Ok(Some(product))
    }

    /// The update of rule `r` for these signals.
    fn change(&self, r: usize, signals: &[(Signal, Tensor<'s>)]) -> Result<Change<'s>> {
        let Learning { link, rule, .. } = &self.rules[r];
        let (link, dt) = (&self.network.links[*link], self.settings.dt);
        self.scope.set_owner(&link.name);
        let number = |x: f64| self.scope.constant(x as f32);
        let get = |wanted: Signal| {
            signals.iter().find(|(signal, _)| *signal == wanted).map_or(number(0.0), |(_, value)| *value)
        };
        Ok(match &rule.spec {
            LearningRule::Pes { learning_rate, .. } => {
                let (mut error, v) = (get(Signal::Error), get(Signal::Pre));
                if let Some(encoders) = rule.encoders {
                    let place = self.network.place_of(encoders)?;
                    if link.onto_current {
                        let reached = Columns::new(&link.spec.post, place.owner, place.cols)?.0.scatter();
                        error = reached.place(error, place.cols);
                    }
                    error = error.dot(self.parameter(&place.parameter)?);
                    if let Weights::Of(_) = encoders {
                        // The encoders of an ensemble include the gain.
                        error = error * self.parameter(&format!("{}/gain", self.network.name(link.post)))?;
                    }
                    error = self.behind(link, error)?;
                }
                Change { u: error * number(-learning_rate * dt / link.take.1 as f64), v, decay: None }
            }
            LearningRule::Rls { .. } => {
                Change { u: get(Signal::Error) * number(-1.0), v: get(Signal::Gain), decay: None }
            }
            LearningRule::Bcm { learning_rate, .. } => {
                let (b, theta) = (get(Signal::Post), get(Signal::Theta));
                Change { u: b * (b - theta) * number(learning_rate * dt), v: get(Signal::Pre), decay: None }
            }
            LearningRule::Oja { learning_rate, beta, .. } => {
                let b = get(Signal::Post);
                let decay = b * b * number(learning_rate * dt * beta);
                Change { u: b * number(learning_rate * dt), v: get(Signal::Pre), decay: Some(decay) }
            }
            LearningRule::Voja { learning_rate, .. } => {
                let active = get(Signal::Post) * get(Signal::Error) * number(learning_rate * dt);
                let scale = self.parameter(&format!("{}/scale", link.name))?;
                Change { u: active * scale, v: get(Signal::Input), decay: Some(active) }
            }
        })
    }

    /// The part of the post neurons' values `x` that the connection reaches.
    fn behind(&self, link: &Link, x: Tensor<'s>) -> Result<Tensor<'s>> {
        if link.onto_current {
            // Full weights reach all neurons; the slice selects dimensions that these represent.
            return Ok(x);
        }
        let post = self.network.object(link.post)?;
        Ok(Columns::new(&link.spec.post, &post.name, post.size_in)?.0.take(x, link.put.1))
    }

    /// A signal of this step, unfiltered.
    fn unfiltered(&mut self, r: usize, signal: Signal) -> Result<Tensor<'s>> {
        let network = self.network;
        let (link, rule) = (&network.links[self.rules[r].link], self.rules[r].rule.clone());
        let ends = network.place_of(rule.changes)?.ends;
        let voja = matches!(rule.spec, LearningRule::Voja { .. });
        Ok(match signal {
            Signal::Error => {
                let brought = rule.input.map(|input| self.output(input)).transpose()?;
                self.scope.set_owner(&link.name);
                let brought = brought.unwrap_or(self.scope.constant(0.0));
                if voja { brought + self.scope.constant(1.0) } else { brought }
            }
            Signal::Pre => {
                let x = self.output(link.pre)?;
                link.take.0.take(x, link.take.1)
            }
            Signal::Input => match rule.changes {
                Weights::Encoders(ensemble) => {
                    self.output(ensemble)?;
                    self.inputs[ensemble.0].unwrap_or(self.scope.constant(0.0))
                }
                Weights::Of(_) => self.output(ends[0])?,
            },
            Signal::Post | Signal::Theta if voja => self.output(ends[1])?,
            Signal::Post | Signal::Theta => {
                let b = self.output(link.post)?;
                self.behind(link, b)?
            }
            Signal::Product => self.inverse(r)?[0],
            Signal::Gain => self.inverse(r)?[1],
        })
    }

    /// A signal of this step, filtered.
    fn now(&mut self, r: usize, signal: Signal) -> Result<Tensor<'s>> {
        let value = self.unfiltered(r, signal)?;
        let Learning { link, rule, .. } = &self.rules[r];
        let link = &self.network.links[*link];
        self.scope.set_owner(&link.name);
        match rule.synapse(signal) {
            Some(synapse) => {
                let synapse = synapse.discretise(&owner(link), self.settings.dt)?;
                Ok(value.filter(&filter(&synapse, false)))
            }
            None => Ok(value),
        }
    }

    /// [`Signal::Product`] and [`Signal::Gain`] of an RLS rule. `P` changes like weights do, by the product of both signals of the
    /// step before.
    fn inverse(&mut self, r: usize) -> Result<[Tensor<'s>; 2]> {
        if let Some(inverse) = self.rules[r].inverse {
            return Ok(inverse);
        }
        let a = self.now(r, Signal::Pre)?;
        let Learning { rule, late, .. } = &self.rules[r];
        let rate = if let LearningRule::Rls { learning_rate, .. } = rule.spec { learning_rate } else { 0.0 };
        let n = a.ty().cols;
        let start = (rate * self.settings.dt / n as f64) as f32;
        let diagonal = (0..n * n).map(|e| if e / n == e % n { start } else { 0.0 }).collect();
        let change = [State { name: "inverse", start: diagonal }];
        let learn = Learn { rows: n, cols: n, decays: false, based: false, change };
        let before = |wanted: Signal| {
            let found = late.iter().find(|(signal, _)| *signal == wanted);
            found.map_or(self.scope.constant(0.0), |(_, value)| *value)
        };
        let u = before(Signal::Gain) * self.scope.constant(-1.0);
        let product = self.scope.apply(learn, &[a, u, before(Signal::Product)]);
        let gain = product / ((a * product).sum_cols() + self.scope.constant(1.0));
        self.rules[r].inverse = Some([product, gain]);
        Ok([product, gain])
    }

    /// The signal that a probe reads of the rule of connection `link`.
    pub(super) fn rule_signal(&mut self, link: usize, name: &str) -> Result<Tensor<'s>> {
        let found = self.rules.iter().position(|r| r.link == link);
        let r = found.ok_or_else(|| Error::unknown("signal", name, []))?;
        match name {
            "error" | "learning_signal" => self.now(r, Signal::Error),
            "activities" | "pre_filtered" => self.now(r, Signal::Pre),
            "post_filtered" => self.now(r, Signal::Post),
            "theta" => self.now(r, Signal::Theta),
            "inv_gamma" => Ok(self.inverse(r)?[0].state(0, true)),
            "delta" => self.delta(r),
            _ => self.weights(r),
        }
    }

    /// The update of a step, as one row.
    fn delta(&mut self, r: usize) -> Result<Tensor<'s>> {
        let rule = self.rules[r].rule.clone();
        let current = |&part: &Signal| Ok((part, self.now(r, part)?));
        let signals = rule.parts().iter().map(current).collect::<Result<Vec<_>>>()?;
        let Change { u, v, decay } = self.change(r, &signals)?;
        let Place { owner, rows, cols, .. } = self.network.place_of(rule.changes)?;
        let each = |x: Tensor<'s>, index: &dyn Fn(usize) -> usize| {
            let index: Vec<usize> = (0..rows * cols).map(index).collect();
            let pattern = Pattern::select(x.ty().cols, &index).map(Arc::new);
            pattern
                .map(|p| x.sparse(&p, None))
                .map_err(|e| Error::invalid(format!("the learning rule of '{owner}'"), e))
        };
        let grows = each(u, &|e| e / cols)? * each(v, &|e| e % cols)?;
        match decay {
            Some(decay) => Ok(grows - each(decay, &|e| e / cols)? * self.weights(r)?),
            None => Ok(grows),
        }
    }

    /// The weights used by a step, as one row.
    fn weights(&mut self, r: usize) -> Result<Tensor<'s>> {
        let changes = self.rules[r].rule.changes;
        let product = match changes {
            Weights::Of(i) => self.transformed(i)?,
            Weights::Encoders(ensemble) => {
                self.output(ensemble)?;
                self.rules[r].product.unwrap_or(self.scope.constant(0.0))
            }
        };
        let place = self.network.place_of(changes)?;
        let index = self.network.parameter_index(&place.parameter)?;
        let parameter = &self.network.parameters[index];
        let flat = Type::fixed(1, parameter.rows * parameter.cols);
        let base = self.scope.source(flat, Source::Parameter(index));
        self.scope.set_owner(place.owner);
        Ok(product.state(0, true) + base)
    }
}
