//! The CPU twin of expressions: instruction by instruction over blocks of elements.

use crate::engine::cpu::math;
use crate::expr::{Binary, Expr, Instr};

/// Elements that the CPU twin computes at once: a few such blocks stay in the first-level cache.
pub const BLOCK: usize = 256;

/// An input of [`Expr::run`] along a row.
#[derive(Clone, Copy)]
pub enum Lane<'a> {
    /// An element each.
    Slice(&'a [f32]),
    /// One for all.
    Splat(f32),
}

impl Lane<'_> {
    fn part(self, from: usize, to: usize) -> Self {
        match self {
            Lane::Slice(s) => Lane::Slice(&s[from..to]),
            splat => splat,
        }
    }

    /// Fills `to` with it.
    #[inline(always)]
    pub fn copy_to(self, to: &mut [f32]) {
        match self {
            Lane::Slice(s) => to.copy_from_slice(s),
            Lane::Splat(c) => to.fill(c),
        }
    }
}

impl Expr {
    /// The CPU twin: fills `to` from `lanes`, one per input. `scratch` is memory to work in.
    pub fn run(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize(self.tape.len() * BLOCK, 0.0);
        math::vectorise(
            #[inline(always)]
            || self.run_blocks(lanes, to, scratch),
        );
    }

    #[inline(always)]
    fn run_blocks(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut [f32]) {
        let mut from = 0;
        for to in to.chunks_mut(BLOCK) {
            let n = to.len();
            self.run_block(|i| lanes[i].part(from, from + n), to, scratch);
            from += n;
        }
    }

    /// One block in place: input 0 is what `to` holds.
    pub fn run_in_place(&self, lanes: &[Lane<'_>], to: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize((self.tape.len() + 1) * BLOCK, 0.0);
        math::vectorise(
            #[inline(always)]
            || {
                let (own, scratch) = scratch.split_at_mut(BLOCK);
                let mut from = 0;
                for to in to.chunks_mut(BLOCK) {
                    let n = to.len();
                    own[..n].copy_from_slice(to);
                    let own = &own[..n];
                    let lane =
                        |i: usize| if i == 0 { Lane::Slice(own) } else { lanes[i - 1].part(from, from + n) };
                    self.run_block(lane, to, scratch);
                    from += n;
                }
            },
        );
    }

    #[inline(always)]
    fn run_block<'a>(&self, lane: impl Fn(usize) -> Lane<'a>, to: &mut [f32], scratch: &mut [f32]) {
        let n = to.len();
        let last = self.tape.len() - 1;
        for (at, instr) in self.tape.iter().enumerate() {
            let (done, rest) = scratch.split_at_mut(at * BLOCK);
            let to = if at == last { &mut *to } else { &mut rest[..n] };
            let get = |i: usize| match self.tape[i] {
                Instr::Input(i) => lane(i),
                Instr::Constant(c) => Lane::Splat(c),
                _ => Lane::Slice(&done[i * BLOCK..i * BLOCK + n]),
            };
            match *instr {
                // Sources are read where they lie; only a tape that ends with one copies it.
                Instr::Input(_) | Instr::Constant(_) if at != last => {}
                Instr::Input(_) | Instr::Constant(_) => get(at).copy_to(to),
                _ => execute(*instr, get, to),
            }
        }
    }
}

/// `to` = the result of one instruction, whose operands `get` gives.
#[inline(always)]
fn execute<'a>(instr: Instr, get: impl Fn(usize) -> Lane<'a>, to: &mut [f32]) {
    match instr {
        Instr::Input(_) | Instr::Constant(_) => {}
        Instr::Unary(f, a) => match get(a) {
            Lane::Slice(s) => f.apply(s, to),
            Lane::Splat(c) => to.fill(f.value(c)),
        },
        Instr::Binary(f, a, b) => binary(f, get(a), get(b), to),
        Instr::Select(c, a, b) => select(get(c), get(a), get(b), to),
    }
}

/// `to` = `a` where `c` is not zero, else `b`.
#[inline(always)]
fn select(c: Lane<'_>, a: Lane<'_>, b: Lane<'_>, to: &mut [f32]) {
    let c = match c {
        Lane::Slice(c) => c,
        Lane::Splat(c) => return if c == 0.0 { b.copy_to(to) } else { a.copy_to(to) },
    };
    let pick = |c: f32, a: f32, b: f32| if c == 0.0 { b } else { a };
    match (a, b) {
        (Lane::Slice(a), Lane::Slice(b)) => {
            for (((to, &c), &a), &b) in to.iter_mut().zip(c).zip(a).zip(b) {
                *to = pick(c, a, b);
            }
        }
        (Lane::Slice(a), Lane::Splat(b)) => {
            for ((to, &c), &a) in to.iter_mut().zip(c).zip(a) {
                *to = pick(c, a, b);
            }
        }
        (Lane::Splat(a), Lane::Slice(b)) => {
            for ((to, &c), &b) in to.iter_mut().zip(c).zip(b) {
                *to = pick(c, a, b);
            }
        }
        (Lane::Splat(a), Lane::Splat(b)) => {
            for (to, &c) in to.iter_mut().zip(c) {
                *to = pick(c, a, b);
            }
        }
    }
}

/// Places of a tape's results while it runs: a place is used again once its result has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots {
    of: Vec<usize>,
    count: usize,
}

impl Slots {
    /// For a tape whose `results` must be there in the end.
    pub fn new(expr: &Expr, results: &[usize]) -> Self {
        let mut last = vec![0; expr.tape.len()];
        for (at, instr) in expr.tape.iter().enumerate() {
            instr.reads().for_each(|r| last[r] = at);
        }
        results.iter().for_each(|&r| last[r] = usize::MAX);
        let (mut of, mut free, mut count) = (vec![0; expr.tape.len()], Vec::new(), 0);
        for (at, instr) in expr.tape.iter().enumerate() {
            if matches!(instr, Instr::Input(_) | Instr::Constant(_)) {
                continue;
            }
            // Taken before those of the operands are given back: an instruction does not write what it reads.
            of[at] = free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            let mut read: Vec<usize> = instr.reads().filter(|&r| last[r] == at).collect();
            read.dedup();
            for r in read {
                if !matches!(expr.tape[r], Instr::Input(_) | Instr::Constant(_)) && !free.contains(&of[r]) {
                    free.push(of[r]);
                }
            }
        }
        Self { of, count }
    }

    /// Floats of memory that a run needs.
    pub fn floats(&self) -> usize {
        self.count * BLOCK
    }
}

impl Expr {
    /// All instructions on up to [`BLOCK`] elements; `results` go where `store` is given them, by their number.
    #[inline(always)]
    pub(crate) fn run_all<'a>(
        &self,
        slots: &Slots,
        results: &[usize],
        n: usize,
        lane: impl Fn(usize) -> Lane<'a>,
        scratch: &mut [f32],
        mut store: impl FnMut(usize, Lane<'_>),
    ) {
        for (at, instr) in self.tape.iter().enumerate() {
            if matches!(instr, Instr::Input(_) | Instr::Constant(_)) {
                continue;
            }
            let (before, rest) = scratch.split_at_mut(slots.of[at] * BLOCK);
            let (own, after) = rest.split_at_mut(BLOCK);
            let get = |i: usize| match self.tape[i] {
                Instr::Input(i) => lane(i),
                Instr::Constant(c) => Lane::Splat(c),
                _ => {
                    let (slot, mine) = (slots.of[i], slots.of[at]);
                    let from = if slot < mine {
                        &before[slot * BLOCK..]
                    } else {
                        &after[(slot - mine - 1) * BLOCK..]
                    };
                    Lane::Slice(&from[..n])
                }
            };
            execute(*instr, get, &mut own[..n]);
        }
        for (k, &r) in results.iter().enumerate() {
            store(
                k,
                match self.tape[r] {
                    Instr::Input(i) => lane(i),
                    Instr::Constant(c) => Lane::Splat(c),
                    _ => Lane::Slice(&scratch[slots.of[r] * BLOCK..][..n]),
                },
            );
        }
    }
}

/// `to = f(a, b)`, with the function chosen outside of the loops.
#[inline(always)]
fn binary(f: Binary, a: Lane<'_>, b: Lane<'_>, to: &mut [f32]) {
    #[inline(always)]
    fn each(a: Lane<'_>, b: Lane<'_>, to: &mut [f32], f: impl Fn(f32, f32) -> f32) {
        match (a, b) {
            (Lane::Slice(a), Lane::Slice(b)) => {
                for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
                    *to = f(a, b);
                }
            }
            (Lane::Slice(a), Lane::Splat(b)) => {
                for (to, &a) in to.iter_mut().zip(a) {
                    *to = f(a, b);
                }
            }
            (Lane::Splat(a), Lane::Slice(b)) => {
                for (to, &b) in to.iter_mut().zip(b) {
                    *to = f(a, b);
                }
            }
            (Lane::Splat(a), Lane::Splat(b)) => to.fill(f(a, b)),
        }
    }
    macro_rules! each {
        ($($f:ident)*) => {
            match f {
                $(Binary::$f => each(a, b, to, |a, b| Binary::$f.value(a, b)),)*
            }
        };
    }
    each!(Add Sub Mul Div Residual Pow Max Min Less Instead Poisson);
}
