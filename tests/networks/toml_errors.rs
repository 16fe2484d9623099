//! Errors in TOML files are reported with their place and the names in the file.

use crate::common::messages::Messages;
use crate::file::{ENSEMBLES, parse, place, problem};

#[test]
fn invalid_synapses_and_processes_of_files_are_refused() {
    let said = Messages::of("invalid synapses and processes of files are refused");
    let signal = "[[node]]\nname = \"a\"\n";
    said.text(problem(&format!(
        "{signal}size = 3\nprocess.piecewise = {{ times = [0], values = [[1, 2]] }}"
    )));
    said.text(problem(&format!("{signal}constant = [1]\nprocess.white-noise = {{}}")));
    said.text(problem(&format!("{signal}process.piecewise = {{ times = [0, 1], values = [[1, 2], [3]] }}")));
    let probe = "size = 1\n[[probe]]\nname = \"p\"\ntarget = \"a\"\n";
    let text =
        problem(&format!("{signal}{probe}synapse.linear = {{ numerator = [1], denominator = [1, 0] }}"));
    said.text(&text);
    let (line, _, message) = place(&format!("{signal}{probe}synapse = \"slow\""));
    assert_eq!(line, 7);
    said.text(&message);
    let (line, _, message) = place(&format!("{signal}process.white-noise = {{ mean = 1 }}"));
    assert_eq!(line, 3);
    said.text(&message);
}

#[test]
fn errors_have_line_and_column() {
    let said = Messages::of("errors have line and column");
    let (line, column, message) = place("seed = 0\n[[node]]\nname = \"a\"\nsiez = 3\n");
    assert_eq!((line, column), (4, 1));
    said.text(&message);

    let (line, column, message) = place("[[layer]]\nname = \"a\"\nunits = \"many\"\n");
    assert_eq!((line, column), (3, 9));
    said.text(&message);

    let (_, _, message) = place("[train]\nsteps = -3\n");
    said.text(&message);

    let connection = "[[connection]]\npre = \"a\"\npost = \"b\"\ntransform = { dense = ";
    let (line, column, message) = place(&format!("{connection}true }}\n"));
    assert_eq!((line, column), (4, 23), "{message}");
    said.text(&message);

    let (line, _, message) = place("seed = 0\n\n[[layer]]\nname = \"a\"\nactivation = \"rleu\"\n");
    assert_eq!(line, 5);
    said.text(&message);

    let (line, column, message) = place("seed = 0\nseed = 1\n");
    assert_eq!((line, column, message.as_str()), (2, 1, "'seed' is given twice; keep one of them"));
    for deep in [format!("seed = {}", "[".repeat(500)), format!("{}b = 1", "a.".repeat(500))] {
        said.text(place(&deep).2);
    }

    let (line, column, _) = place("seed = 0\nname = = 3\n");
    assert_eq!((line, column), (2, 8));
    // Columns count letters, not bytes.
    assert_eq!(place("[[node]]\nname = \"ü\" x\n").1, 12);
    let text = parse("x = 1").unwrap_err().to_string();
    assert!(text.starts_with("dir/net.toml:1:1: "), "{text}");
}

#[test]
fn mistakes_in_functions_of_time_are_reported_with_their_column() {
    let said = Messages::of("mistakes in functions of time are reported with their column");
    let node = "[[node]]\nname = \"a\"\n";
    let (line, column, message) = place(&format!("{node}function = \"sin(x)\""));
    assert_eq!((line, column), (3, 12), "{message}");
    said.text(&message);
    let (line, column, message) = place(&format!("{node}function = [\n\"t\",\n  \"t; 2 t\"]"));
    assert_eq!((line, column), (5, 3), "{message}");
    said.text(&message);
    said.text(place(&format!("{node}function = 3")).2);
    for function in ["[]", "\"t\"\nconstant = [1]", "\"t\"\nsize = 1", "\"t\"\nprocess.white-noise = {}"] {
        said.text(problem(&format!("{node}function = {function}")));
    }
}

#[test]
fn a_second_entry_where_there_can_be_one_is_not_passed_over() {
    let said = Messages::of("a second entry where there can be one is not passed over");
    let neurons = |of: &str| format!("[[neurons]]\nname = \"n\"\nn = 2\ntype = {of}\n");
    let connection = |rest: &str| {
        neurons("\"tanh\"")
            + "[[node]]\nname = \"x\"\nsize = 2\n[[connection]]\npre = \"x\"\npost = \"n\"\n"
            + rest
    };
    for toml in [
        neurons("{ lif = {}, tau-rc = 0.1 }"),
        neurons("{ lif = {}, tanh = {} }"),
        connection("transform = { dense = { constant = 2.0 }, scale = 7.0 }"),
        connection("learning-rule = { pes = {}, voja = {} }"),
        connection("solver = { method = { lstsq = {}, nnls = {} } }"),
    ] {
        said.text(problem(&toml));
    }
}

#[test]
fn unknown_settings_are_refused_in_every_table() {
    let said = Messages::of("unknown settings are refused in every table");
    let node = "[[node]]\nname = \"a\"\nsize = 1\n";
    let train = "[train]\nepochs = 1\nlearning-rate = 0.1\nloss = \"mean-squared\"\n";
    for toml in [
        "sede = 1\n".to_string(),
        format!("{node}shape = 1\n"),
        "[[layer]]\nname = \"a\"\nunit = 1\n".into(),
        "[[connection]]\npre = \"a\"\npost = \"a\"\ndelay = 1\n".into(),
        "[[probe]]\nname = \"a\"\nof = \"a\"\n".into(),
        "[data]\nformat = \"csv\"\npath = \"x\"\nlabels = \"last\"\n".into(),
        "[split]\ntests = 3\n".into(),
        format!("{train}rate = 1\n"),
        format!("{train}[train.optimiser]\nkind = \"adam\"\nbeta = 1\n"),
        format!("{train}[train.schedule]\nkind = \"step\"\nevry = 1\n"),
        format!("{train}[[train.penalty]]\non = \"all\"\nl2 = 1\n"),
        format!("{train}[[train.activity]]\nprobe = \"a\"\nl3 = 1\n"),
        format!("{train}[[train.group]]\non = \"all\"\nspeed = 1\n"),
        format!("{train}[train.early-stopping]\npatience = 1\nwait = 1\n"),
    ] {
        let (line, _, message) = place(&toml);
        said.text(&message);
        assert!(line >= 1);
    }
}

#[test]
fn mismatched_sizes_of_files_are_reported_with_both_objects() {
    let said = Messages::of("mismatched sizes of files are reported with both objects");
    let node = "[[node]]\nname = \"in\"\nsize = 3\n";
    let text = problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"im\"\nunits = 2\n"));
    assert_eq!(text, "there is no object named 'im' (did you mean 'in'?); there is: in, a");

    said.text(problem(&format!("{node}[[probe]]\nname = \"p\"\ntarget = \"out\"\n")));

    let other = "[[node]]\nname = \"other\"\nconstant = [1, 2]\n";
    said.text(problem(&format!(
        "{node}{other}[[layer]]\nname = \"a\"\ninput = [\"in\", \"other\"]\nunits = 2\n"
    )));
    said.text(problem("[[node]]\nname = \"in\"\nsize = 3\nconstant = [1]\n"));

    said.text(problem("[[node]]\nname = \"in\"\narray = [[1, 2], [3]]\n"));

    let text =
        problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"in\"\nunits = 4611686018427387904\n"));
    assert!(
        text.starts_with("the 4611686018427387904 units of layer 'a' needs more than 10^19 bytes"),
        "{text}"
    );

    said.text(problem("[[node]]\nname = \"in\"\narray = [[1], [nan]]\n"));

    said.text(problem("[[layer]]\nname = \"alone\"\nunits = 2\n"));
}

#[test]
fn a_wrong_probe_of_a_learning_rule_is_reported_with_the_right_keys() {
    let said = Messages::of("a wrong probe of a learning rule is reported with the right keys");
    let net = "[[node]]\nname = \"x\"\nconstant = [1]\n[[ensemble]]\nname = \"a\"\nn-neurons = 10\ndimensions = 1\n\
        [[node]]\nname = \"y\"\npassthrough = 1\n[[connection]]\npre = \"a\"\npost = \"y\"\nname = \"learned\"\n\
        learning-rule = \"pes\"\n[[connection]]\npre = \"x\"\npost = \"learned/learning-rule\"\n[[probe]]\nname = \"p\"\n";
    for lines in [
        "target = \"learned\"",
        "target = \"learned/learning-rule\"",
        "target = \"learned\"\nstate = \"weights\"",
    ] {
        let text = problem(&format!("{net}{lines}\n"));
        said.text(&text);
    }
    said.text(problem("[[node]]\nname = \"x\"\npassthrough = 9223372036854775807\n"));
}

#[test]
fn a_cycle_without_delay_names_its_objects() {
    let said = Messages::of("a cycle without delay names its objects");
    let layers = "[[layer]]\nname = \"a\"\ninput = \"b\"\nunits = 2\n[[layer]]\nname = \"b\"\ninput = \"a\"\nunits = 2\n";
    let layers = &format!("{layers}[[probe]]\nname = \"p\"\ntarget = \"a\"\n");
    said.text(problem(layers));
}

#[test]
fn mistakes_in_ensembles_are_reported_with_line_column_and_name() {
    let said = Messages::of("mistakes in ensembles are reported with line column and name");
    let with = |from: &str, to: &str| {
        assert!(ENSEMBLES.contains(from));
        ENSEMBLES.replacen(from, to, 1)
    };
    let (line, column, message) = place(&with("\"x + 0.1\"", "\"x + y\""));
    assert_eq!((line, column), (47, 12), "{message}");
    said.text(&message);
    let (line, _, message) = place(&with("n-eval-points = 300", "n-eval-pionts = 300"));
    assert_eq!(line, 28);
    said.text(&message);
    let (_, _, message) = place(&with("function = \"x^2\"", "function = 3"));
    said.text(&message);
    said.text(problem(&with("\"x^2\"", "[\"x\", \"x\", \"x\"]")));
    let text = problem(&with(
        "product = {",
        "oscillator = { recurrent-tau = 0.1, frequency = 1.0, n-neurons = 5 }\nproduct = {",
    ));
    said.text(&text);
    said.text(problem(&with("of = \"array\"", "of = \"x\"")));
}

#[test]
fn a_wrong_key_is_reported_with_the_valid_keys() {
    let said = Messages::of("a wrong key is reported with the valid keys");
    let probe = |synapse: &str| {
        format!(
            "[[node]]\nname = \"x\"\nsize = 1\n[[probe]]\nname = \"p\"\ntarget = \"x\"\nsynapse = {synapse}\n"
        )
    };
    let rule = |synapse: &str| {
        format!(
            "[[connection]]\npre = \"x\"\npost = \"y\"\nlearning-rule = {{ pes = {{ pre-synapse = {synapse} }} }}"
        )
    };
    let loss = |loss: &str| format!("[train]\nepochs = 1\nlearning-rate = 0.1\nloss = {loss}\n");
    let spiking = |way: &str| {
        format!("[train]\nepochs = 1\nlearning-rate = 0.1\nloss = \"mean-squared\"\nspiking = {way}\n")
    };
    let process = |process: &str| format!("[[node]]\nname = \"x\"\nprocess = {process}\n");
    for toml in [
        probe("{ lowpas = 0.1 }"),
        probe("{ linear = { numerator = [1], denom = [1] } }"),
        probe("\"slow\""),
        probe("{}"),
        rule("{ lowpas = 0.1 }"),
        rule("\"none\""),
        loss("\"mean-square\""),
        loss("{ hubre = 1.0 }"),
        loss("\"huber\""),
        loss("[{ probe = \"p\", los = \"mean-squared\" }]"),
        loss("3"),
        spiking("\"surrogate\""),
        spiking("{ surrogate = \"triangle\" }"),
        spiking("\"soft-lif\""),
        spiking("\"rates\""),
        process("\"piecewise\""),
        process("\"white-nose\""),
    ] {
        let (line, _, message) = place(&toml);
        assert!(line > 1, "{toml}: {message}");
        said.text(&message);
    }
}

#[test]
fn settings_without_effect_in_files_are_refused() {
    let said = Messages::of("settings without effect in files are refused");
    let node = |rest: &str| format!("[[node]]\nname = \"x\"\n{rest}\n");
    let probe = |synapse: &str| {
        node("size = 1") + &format!("[[probe]]\nname = \"p\"\ntarget = \"x\"\nsynapse = {synapse}\n")
    };
    let linear = |rest: &str| probe(&format!("{{ linear = {{ denominator = [1, 0.5], {rest} }} }}"));
    let neurons = |rest: &str| format!("[[neurons]]\nname = \"n\"\nn = 2\n{rest}\n");
    let state = neurons("type = \"lif\"") + "[[probe]]\nname = \"p\"\ntarget = \"n\"\nstate = \"volts\"\n";
    for toml in [
        linear("numerator = [1], analog = false, method = \"euler\""),
        linear("numerator = []"),
        probe("inf"),
        node("process = { piecewise = { times = [], values = [] } }"),
        neurons("type = { lif = { tau-rc = inf } }"),
        state,
        neurons("type = \"lif\"\nstate = { volts = \"zeros\" }"),
    ] {
        said.text(problem(&toml));
    }
}

#[test]
fn the_config_is_checked_where_no_object_takes_it() {
    let said = Messages::of("the config is checked where no object takes it");
    let node = "[[node]]\nname = \"x\"\nsize = 1\n";
    for config in [
        "[config.ensemble]\nradius = -1",
        "[config.ensemble]\nmax-rates = { uniform = [2, 1] }",
        "[config.ensemble]\nneuron-type = { lif = { tau-rc = -1 } }",
        "[config]\nsolver.method.lstsq-l2.reg = -1",
        "[config]\nsynapse = -1",
        "[config.probe]\nsample-every = 0",
        "[[network]]\nname = \"n\"\nconfig.ensemble.radius = 0\n[[network.node]]\nname = \"y\"\nsize = 1",
    ] {
        said.text(problem(&format!("{config}\n{node}")));
    }
}

#[test]
fn an_invalid_transform_is_refused_where_a_size_follows_from_it() {
    let said = Messages::of("an invalid transform is refused where a size follows from it");
    for transform in [
        "pool = { of = \"max\", input-shape = [4, 4, 1], pool-size = [5, 5] }",
        "convolution = { n-filters = 0, input-shape = [4, 4, 1] }",
        "convolution = { n-filters = 1, input-shape = [4, 4, 1], groups = 2 }",
        "convolution = { n-filters = 1, input-shape = [4, 4, 1], strides = [0, 1] }",
        "pool = { of = \"max\", input-shape = [3, 4, 1] }",
    ] {
        said.text(problem(&format!(
            "[[node]]\nname = \"x\"\nsize = 16\n[[layer]]\nname = \"v\"\n\
             [[connection]]\npre = \"x\"\npost = \"v\"\ntransform = {{ {transform} }}\n"
        )));
    }
    let text = problem(
        "[[node]]\nname = \"x\"\nsize = 2\n[[layer]]\nname = \"v\"\ninput = \"x\"\nbias-init = \"he\"\n",
    );
    assert!(text.starts_with("layer 'v': bias-init is for weights"), "{text}");
}
