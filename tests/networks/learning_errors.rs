//! Learning rules that do not fit their connection are refused.

use super::learning::dense;
use crate::common::messages::Messages;
use nengo_wgpu::internals::neuron::RectifiedLinear;
use nengo_wgpu::network::{
    Connection, Init, LearningRule, Network, Neurons, Node, ObjectId, Synapse, Target,
};

#[test]
fn invalid_learning_rules_of_neurons_are_refused() {
    let said = Messages::of("invalid learning rules of neurons are refused");
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let node = net.node("node", Node::Passthrough(2)).unwrap();
    let neurons = |n| Neurons::new(n, RectifiedLinear { amplitude: 1.0 });
    let [a, b] = ["a", "b"].map(|name| net.neurons(name, neurons(4)).unwrap());
    let mut no = |pre: ObjectId, post: ObjectId, spec: Connection, rule| {
        let parameters = net.parameters().len();
        said.error(net.connect(pre, post, spec.named("c").learning_rule(rule)));
        assert_eq!(parameters, net.parameters().len(), "nothing is left behind");
        assert!(net.find_connection("c").is_err());
    };
    let weights = || dense(Init::Zeros);
    no(x, node, weights(), LearningRule::pes());
    no(a, b, Connection::new(), LearningRule::oja());
    no(a, node, weights(), LearningRule::bcm());
    no(a, b, weights(), LearningRule::pes());
    no(a, b, weights(), LearningRule::rls());
    no(a, b, weights(), LearningRule::voja());
    no(a, node, weights(), LearningRule::voja());
    no(a, node, weights(), LearningRule::pes().rate(-1.0));
    no(a, node, weights(), LearningRule::pes().rate(f64::NAN));
    let slow = LearningRule::Rls { learning_rate: 1.0, pre_synapse: Some(Synapse::Lowpass(-0.1)) };
    no(a, node, weights(), slow);
    let oja = LearningRule::Oja { learning_rate: 1.0, pre_synapse: None, post_synapse: None, beta: -1.0 };
    no(a, b, weights(), oja);

    net.connect(node, b, weights().named("encoders")).unwrap();
    let voja = |scale| LearningRule::Voja { learning_rate: 0.1, post_synapse: None, scale };
    let three = voja(Init::Values(vec![1.0; 3]));
    said.error(net.connect(a, node, weights().named("c").learning_rule(three)));
    net.connect(a, node, weights().named("first").learning_rule(voja(Init::Constant(1.0)))).unwrap();
    let second = weights().named("second").learning_rule(voja(Init::Constant(1.0)));
    said.error(net.connect(a, node, second));

    let pes = net.connect(a, node, weights().named("pes").learning_rule(LearningRule::pes())).unwrap();
    let oja = net.connect(a, b, weights().named("oja").learning_rule(LearningRule::oja())).unwrap();
    let error = net.learning_rule_of(pes).unwrap();
    assert_eq!(net.name(error), "pes/learning-rule");
    let three = net.node("three", Node::Input(3)).unwrap();
    said.error(net.connect(three, error, Connection::new()));
    said.error(net.learning_rule_of(oja));
    let plain = net.find_connection("encoders").unwrap();
    said.error(net.learning_rule_of(plain));
    said.error(net.add_probe("p", Target::Rule(pes, "theta".into())));
}
