//! Places of the parameters in their buffer.

use crate::graph::Type;
use crate::network::Network;
use crate::optim::update::{LINE, Segment, Segments};
use crate::plan::ParameterPlace;

/// Places and training settings of all parameters.
pub(crate) struct Layout {
    pub places: Vec<ParameterPlace>,
    pub segments: Segments,
}

impl Layout {
    /// Places the parameters one after the other in this order, each from the start of a line.
    pub fn new(network: &Network, order: &[usize]) -> Self {
        let (count, mut line) = (network.parameters.len(), 0);
        let mut places = vec![ParameterPlace { offset: 0, ty: Type::fixed(1, 1) }; count];
        let mut list = vec![Segment::default(); count];
        for &i in order {
            let p = &network.parameters[i];
            let lines = (p.rows * p.cols).div_ceil(LINE);
            places[i] = ParameterPlace { offset: line * LINE, ty: Type::fixed(p.rows, p.cols) };
            list[i] = Segment { first_line: line, lines, rate: f32::from(p.trainable), ..Segment::default() };
            line += lines;
        }
        Self { places, segments: Segments { list } }
    }

    /// Offset of the first of `members`, and their stride in floats; `None` if they are not at equal distances.
    pub fn placement(&self, members: &[usize]) -> Option<(usize, usize)> {
        let offset = |k: usize| self.places[members[k]].offset;
        let stride = offset(1).checked_sub(offset(0))?;
        let equal = (1..members.len()).all(|k| offset(k).checked_sub(offset(k - 1)) == Some(stride));
        equal.then_some((offset(0), stride))
    }

    /// Floats of the parameters' buffer.
    pub fn floats(&self) -> usize {
        self.segments.lines().max(1) * LINE
    }
}
