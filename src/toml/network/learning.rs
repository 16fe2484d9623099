//! Learning rules of a `[[connection]]`.

use serde::Deserialize;

use crate::error::Result;
use crate::network::{Init, LearningRule, Synapse};
use crate::toml::network::signals::SynapseSpec;

/// A learning rule: its name, which takes the defaults, or a table with some settings: `"pes"`, or
/// `{ pes = { learning-rate = 1e-4 } }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRuleSpec {
    /// [`LearningRule::Pes`].
    Pes(PreSpec),
    /// [`LearningRule::Rls`].
    Rls(PreSpec),
    /// [`LearningRule::Bcm`].
    Bcm(BcmSpec),
    /// [`LearningRule::Oja`].
    Oja(OjaSpec),
    /// [`LearningRule::Voja`].
    Voja(VojaSpec),
}

/// A rule with a filter of the pre activities. A synapse of 0 means no filter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PreSpec {
    /// Learning rate; by default that of [`LearningRule::pes`] or [`LearningRule::rls`].
    pub learning_rate: Option<f64>,
    /// Filter of the pre activities; 5 ms by default.
    pub pre_synapse: Option<SynapseSpec>,
}

/// The rule of Bienenstock, Cooper and Munro.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BcmSpec {
    /// Learning rate; 1e-9 by default.
    pub learning_rate: Option<f64>,
    /// Filter of the pre activities; 5 ms by default.
    pub pre_synapse: Option<SynapseSpec>,
    /// Filter of the post activities; that of the pre activities by default.
    pub post_synapse: Option<SynapseSpec>,
    /// Filter of the threshold; 1 s by default.
    pub theta_synapse: Option<SynapseSpec>,
}

/// Oja's rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OjaSpec {
    /// Learning rate; 1e-6 by default.
    pub learning_rate: Option<f64>,
    /// Filter of the pre activities; 5 ms by default.
    pub pre_synapse: Option<SynapseSpec>,
    /// Filter of the post activities; that of the pre activities by default.
    pub post_synapse: Option<SynapseSpec>,
    /// Rate of forgetting; 1 by default.
    pub beta: Option<f64>,
}

/// The vector Oja rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VojaSpec {
    /// Learning rate; 0.01 by default.
    pub learning_rate: Option<f64>,
    /// Filter of the post activities; 5 ms by default.
    pub post_synapse: Option<SynapseSpec>,
    /// Length of each encoder for an input of 1; 1 by default.
    pub scale: Option<Init>,
}

impl LearningRuleSpec {
    /// Builds the rule; `what` names the connection in errors.
    ///
    /// # Errors
    /// An invalid synapse.
    pub fn build(&self, what: &str) -> Result<LearningRule> {
        let given = |spec: &Option<SynapseSpec>| spec.as_ref().map(|s| s.build(what)).transpose();
        // A lowpass of 0 without a delay has no effect.
        let used = |s: Synapse| (s != Synapse::Lowpass(0.0)).then_some(s);
        let or =
            |spec: &Option<SynapseSpec>, default: Option<Synapse>| Ok(given(spec)?.map_or(default, used));
        let (mut rule, rate) = match self {
            Self::Pes(s) => (LearningRule::pes(), s.learning_rate),
            Self::Rls(s) => (LearningRule::rls(), s.learning_rate),
            Self::Bcm(s) => (LearningRule::bcm(), s.learning_rate),
            Self::Oja(s) => (LearningRule::oja(), s.learning_rate),
            Self::Voja(s) => (LearningRule::voja(), s.learning_rate),
        };
        match (self, &mut rule) {
            (
                Self::Pes(s) | Self::Rls(s),
                LearningRule::Pes { pre_synapse, .. } | LearningRule::Rls { pre_synapse, .. },
            ) => *pre_synapse = or(&s.pre_synapse, pre_synapse.take())?,
            (Self::Bcm(s), LearningRule::Bcm { pre_synapse, post_synapse, theta_synapse, .. }) => {
                *pre_synapse = or(&s.pre_synapse, pre_synapse.take())?;
                *post_synapse = or(&s.post_synapse, pre_synapse.clone())?;
                *theta_synapse = or(&s.theta_synapse, theta_synapse.take())?;
            }
            (Self::Oja(s), LearningRule::Oja { pre_synapse, post_synapse, beta, .. }) => {
                *pre_synapse = or(&s.pre_synapse, pre_synapse.take())?;
                *post_synapse = or(&s.post_synapse, pre_synapse.clone())?;
                *beta = s.beta.unwrap_or(*beta);
            }
            (Self::Voja(s), LearningRule::Voja { post_synapse, scale, .. }) => {
                *post_synapse = or(&s.post_synapse, post_synapse.take())?;
                *scale = s.scale.clone().unwrap_or(scale.clone());
            }
            _ => {}
        }
        Ok(match rate {
            Some(rate) => rule.rate(rate),
            None => rule,
        })
    }
}
