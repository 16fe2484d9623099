//! What is wrong with TOML files, with the place and the names of what was written.

use crate::file::{ENSEMBLES, parse, place, problem};

#[test]
fn synapses_and_processes_that_make_no_sense_are_told_of() {
    let signal = "[[node]]\nname = \"a\"\n";
    let text =
        problem(&format!("{signal}size = 3\nprocess.piecewise = {{ times = [0], values = [[1, 2]] }}"));
    assert!(text.contains("node 'a'") && text.contains("is 3") && text.contains("is 2"), "{text}");
    let text = problem(&format!("{signal}constant = [1]\nprocess.white-noise = {{}}"));
    assert!(text.contains("node 'a'") && text.contains("process"), "{text}");
    let text = problem(&format!("{signal}process.piecewise = {{ times = [0, 1], values = [[1, 2], [3]] }}"));
    assert!(text.contains("node 'a'") && text.contains("row 2"), "{text}");
    let probe = "size = 1\n[[probe]]\nname = \"p\"\ntarget = \"a\"\n";
    let text =
        problem(&format!("{signal}{probe}synapse.linear = {{ numerator = [1], denominator = [1, 0] }}"));
    assert!(text.contains("probe 'p'") && text.contains("pole 1.0"), "{text}");
    let (line, _, message) = place(&format!("{signal}{probe}synapse = \"slow\""));
    assert!(line == 7 && message.contains("time constant") && message.contains("triangle"), "{message}");
    let (line, _, message) = place(&format!("{signal}process.white-noise = {{ mean = 1 }}"));
    assert!(line == 3 && message.contains("no key 'mean'"), "{message}");
}

#[test]
fn errors_have_line_and_column() {
    let (line, column, message) = place("seed = 0\n[[node]]\nname = \"a\"\nsiez = 3\n");
    assert_eq!((line, column), (4, 1));
    assert!(message.contains("siez") && message.contains("size"), "{message}");

    let (line, column, message) = place("[[layer]]\nname = \"a\"\nunits = \"many\"\n");
    assert_eq!((line, column), (3, 9));
    assert!(message.contains("many") && message.contains("a whole number"), "{message}");

    let (_, _, message) = place("[train]\nsteps = -3\n");
    assert!(message.contains("[train] steps: it must be a whole number from 0 on, but is -3"), "{message}");

    let connection = "[[connection]]\npre = \"a\"\npost = \"b\"\ntransform = { dense = ";
    let (line, column, message) = place(&format!("{connection}true }}\n"));
    assert_eq!((line, column), (4, 23), "{message}");
    assert!(message.contains("[[connection]] transform.dense: it must be one of \"uniform\""), "{message}");

    let (line, _, message) = place("seed = 0\n\n[[layer]]\nname = \"a\"\nactivation = \"rleu\"\n");
    assert_eq!(line, 5);
    assert!(message.contains("rleu") && message.contains("relu"), "{message}");

    let (line, column, message) = place("seed = 0\nseed = 1\n");
    assert_eq!((line, column, message.as_str()), (2, 1, "'seed' is given twice; keep one of them"));
    for deep in [format!("seed = {}", "[".repeat(500)), format!("{}b = 1", "a.".repeat(500))] {
        let message = place(&deep).2;
        assert!(message.contains("too deep within each other"), "{message}");
    }

    let (line, column, _) = place("seed = 0\nname = = 3\n");
    assert_eq!((line, column), (2, 8));
    // Columns count letters, not bytes.
    assert_eq!(place("[[node]]\nname = \"ü\" x\n").1, 12);
    let text = parse("x = 1").unwrap_err().to_string();
    assert!(text.starts_with("dir/net.toml:1:1: "), "{text}");
}

#[test]
fn mistakes_in_functions_of_time_are_told_with_their_column() {
    let node = "[[node]]\nname = \"a\"\n";
    let (line, column, message) = place(&format!("{node}function = \"sin(x)\""));
    assert_eq!((line, column), (3, 12), "{message}");
    assert!(message.contains("'sin(x)': there is no 'x' in column 5; there is: t, pi"), "{message}");
    let (line, column, message) = place(&format!("{node}function = [\n\"t\",\n  \"t; 2 t\"]"));
    assert_eq!((line, column), (5, 3), "{message}");
    assert!(message.contains("'t; 2 t': 't' in column 6"), "{message}");
    let message = place(&format!("{node}function = 3")).2;
    assert!(message.contains("a text in quotes, or a list of texts in quotes, but is 3"), "{message}");
    for function in ["[]", "\"t\"\nconstant = [1]", "\"t\"\nsize = 1", "\"t\"\nprocess.white-noise = {}"] {
        let text = problem(&format!("{node}function = {function}"));
        assert!(text.contains("'a'"), "{text}");
    }
}

#[test]
fn a_second_entry_where_there_can_be_one_is_not_passed_over() {
    let neurons = |of: &str| format!("[[neurons]]\nname = \"n\"\nn = 2\ntype = {of}\n");
    let connection = |rest: &str| {
        neurons("\"tanh\"")
            + "[[node]]\nname = \"x\"\nsize = 2\n[[connection]]\npre = \"x\"\npost = \"n\"\n"
            + rest
    };
    for (toml, second) in [
        (neurons("{ lif = {}, tau-rc = 0.1 }"), "'tau-rc'"),
        (neurons("{ lif = {}, tanh = {} }"), "'tanh'"),
        (connection("transform = { dense = { constant = 2.0 }, scale = 7.0 }"), "'scale'"),
        (connection("learning-rule = { pes = {}, voja = {} }"), "'voja'"),
        (connection("solver = { method = { lstsq = {}, nnls = {} } }"), "'nnls'"),
    ] {
        let text = problem(&toml);
        assert!(text.contains(second) && text.contains("beside"), "{text}");
    }
}

#[test]
fn unknown_settings_are_refused_in_every_table() {
    let node = "[[node]]\nname = \"a\"\nsize = 1\n";
    let train = "[train]\nepochs = 1\nlearning-rate = 0.1\nloss = \"mean-squared\"\n";
    for (toml, key) in [
        ("sede = 1\n".to_string(), "sede"),
        (format!("{node}shape = 1\n"), "shape"),
        ("[[layer]]\nname = \"a\"\nunit = 1\n".into(), "unit"),
        ("[[connection]]\npre = \"a\"\npost = \"a\"\ndelay = 1\n".into(), "delay"),
        ("[[probe]]\nname = \"a\"\nof = \"a\"\n".into(), "of"),
        ("[data]\nformat = \"csv\"\npath = \"x\"\nlabels = \"last\"\n".into(), "labels"),
        ("[split]\ntests = 3\n".into(), "tests"),
        (format!("{train}rate = 1\n"), "rate"),
        (format!("{train}[train.optimiser]\nkind = \"adam\"\nbeta = 1\n"), "beta"),
        (format!("{train}[train.schedule]\nkind = \"step\"\nevry = 1\n"), "evry"),
        (format!("{train}[[train.penalty]]\non = \"all\"\nl2 = 1\n"), "l2"),
        (format!("{train}[[train.activity]]\nprobe = \"a\"\nl3 = 1\n"), "l3"),
        (format!("{train}[[train.group]]\non = \"all\"\nspeed = 1\n"), "speed"),
        (format!("{train}[train.early-stopping]\npatience = 1\nwait = 1\n"), "wait"),
    ] {
        let (line, _, message) = place(&toml);
        assert!(message.contains(&format!("no key '{key}' here")), "{toml}: {message}");
        assert!(line >= 1);
    }
}

#[test]
fn what_does_not_fit_names_both_objects() {
    let node = "[[node]]\nname = \"in\"\nsize = 3\n";
    let text = problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"im\"\nunits = 2\n"));
    assert_eq!(text, "there is no object named 'im' (did you mean 'in'?); there is: in, a");

    let text = problem(&format!("{node}[[probe]]\nname = \"p\"\ntarget = \"out\"\n"));
    assert!(text.contains("'out'") && text.contains("in"), "{text}");

    let other = "[[node]]\nname = \"other\"\nconstant = [1, 2]\n";
    let text =
        problem(&format!("{node}{other}[[layer]]\nname = \"a\"\ninput = [\"in\", \"other\"]\nunits = 2\n"));
    for part in ["'other'", "'a'", "is 2,", "is 3;"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = problem("[[node]]\nname = \"in\"\nsize = 3\nconstant = [1]\n");
    assert!(text.contains("node 'in'") && text.contains("exactly one"), "{text}");

    let text = problem("[[node]]\nname = \"in\"\narray = [[1, 2], [3]]\n");
    assert!(text.contains("row 2") && text.contains("1 values"), "{text}");

    let text =
        problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"in\"\nunits = 4611686018427387904\n"));
    assert!(text.contains("the 4611686018427387904 units of layer 'a'"), "{text}");

    let text = problem("[[node]]\nname = \"in\"\narray = [[1], [nan]]\n");
    assert!(text.contains("node 'in'") && text.contains("NaN"), "{text}");

    let text = problem("[[layer]]\nname = \"alone\"\nunits = 2\n");
    assert!(text.contains("'alone'") && text.contains("size-in"), "{text}");
}

#[test]
fn a_probe_of_a_learning_rule_is_told_how_it_is_written() {
    let net = "[[node]]\nname = \"x\"\nconstant = [1]\n[[ensemble]]\nname = \"a\"\nn-neurons = 10\ndimensions = 1\n\
        [[node]]\nname = \"y\"\npassthrough = 1\n[[connection]]\npre = \"a\"\npost = \"y\"\nname = \"learned\"\n\
        learning-rule = \"pes\"\n[[connection]]\npre = \"x\"\npost = \"learned/learning-rule\"\n[[probe]]\nname = \"p\"\n";
    for lines in [
        "target = \"learned\"",
        "target = \"learned/learning-rule\"",
        "target = \"learned\"\nstate = \"weights\"",
    ] {
        let text = problem(&format!("{net}{lines}\n"));
        let signal = if lines.contains("state") { "weights" } else { "error" };
        let way = format!("connection = \"learned\" and signal = \"{signal}\"");
        assert!(text.contains("probe 'p'") && text.contains(&way), "{text}");
    }
    let huge = problem("[[node]]\nname = \"x\"\npassthrough = 9223372036854775807\n");
    assert!(huge.contains("'x'") && huge.contains("9223372036854775807 dimensions"), "{huge}");
}

#[test]
fn a_cycle_without_delay_names_its_objects() {
    let layers = "[[layer]]\nname = \"a\"\ninput = \"b\"\nunits = 2\n[[layer]]\nname = \"b\"\ninput = \"a\"\nunits = 2\n";
    let layers = &format!("{layers}[[probe]]\nname = \"p\"\ntarget = \"a\"\n");
    let text = problem(layers);
    assert!(text.contains("b -> a") && text.contains("a -> b") && text.contains("synapse"), "{text}");
}

#[test]
fn mistakes_in_ensembles_are_told_with_line_column_and_name() {
    let with = |from: &str, to: &str| {
        assert!(ENSEMBLES.contains(from));
        ENSEMBLES.replacen(from, to, 1)
    };
    let (line, column, message) = place(&with("\"x + 0.1\"", "\"x + y\""));
    assert_eq!((line, column), (47, 12), "{message}");
    assert!(message.contains("'y' in column 5"), "{message}");
    let (line, _, message) = place(&with("n-eval-points = 300", "n-eval-pionts = 300"));
    assert!(line == 28 && message.contains("n-eval-pionts"), "{line} {message}");
    let (_, _, message) = place(&with("function = \"x^2\"", "function = 3"));
    assert!(message.contains("[[output]] function: it must be a text in quotes, or a list"), "{message}");
    let text = problem(&with("\"x^2\"", "[\"x\", \"x\", \"x\"]"));
    assert!(text.contains("'array.squares'") && text.contains("3 functions"), "{text}");
    let text = problem(&with(
        "product = {",
        "oscillator = { recurrent-tau = 0.1, frequency = 1.0, n-neurons = 5 }\nproduct = {",
    ));
    assert!(text.contains("exactly one"), "{text}");
    assert!(problem(&with("of = \"array\"", "of = \"x\"")).contains("'x': it is no ensemble"));
}

#[test]
fn a_wrong_key_is_named_beside_those_that_there_are() {
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
    for (toml, parts) in [
        (probe("{ lowpas = 0.1 }"), ["'lowpas'", "'lowpass'"]),
        (probe("{ linear = { numerator = [1], denom = [1] } }"), ["'denom'", "'denominator'"]),
        (probe("\"slow\""), ["\"slow\"", "\"none\""]),
        (probe("{}"), ["an empty table", "triangle"]),
        (rule("{ lowpas = 0.1 }"), ["'lowpas'", "'lowpass'"]),
        (rule("\"none\""), ["\"none\"", "a time constant"]),
        (loss("\"mean-square\""), ["\"mean-square\"", "(did you mean 'mean-squared'?)"]),
        (loss("{ hubre = 1.0 }"), ["'hubre'", "'huber'"]),
        (loss("\"huber\""), ["\"huber\" alone", "{ huber = … } with a number"]),
        (loss("[{ probe = \"p\", los = \"mean-squared\" }]"), ["'los'", "'loss'"]),
        (loss("3"), ["it must be a loss or a list of tables", "but is 3"]),
        (spiking("\"surrogate\""), ["\"surrogate\" alone", "fast-sigmoid"]),
        (spiking("{ surrogate = \"triangle\" }"), ["\"triangle\" alone", "{ triangle = … } with a number"]),
        (spiking("\"soft-lif\""), ["\"soft-lif\" alone", "{ soft-lif = … } with a number"]),
        (spiking("\"rates\""), ["\"rates\"", "\"rate-swap\""]),
        (
            process("\"piecewise\""),
            ["\"piecewise\" alone does not say its times", "{ piecewise = { times = … } }"],
        ),
        (process("\"white-nose\""), ["\"white-nose\"", "(did you mean 'white-noise'?)"]),
    ] {
        let (line, _, message) = place(&toml);
        assert!(line > 1 && parts.iter().all(|part| message.contains(part)), "{toml}: {message}");
    }
}

#[test]
fn settings_that_would_count_for_nothing_are_told() {
    let node = |rest: &str| format!("[[node]]\nname = \"x\"\n{rest}\n");
    let probe = |synapse: &str| {
        node("size = 1") + &format!("[[probe]]\nname = \"p\"\ntarget = \"x\"\nsynapse = {synapse}\n")
    };
    let linear = |rest: &str| probe(&format!("{{ linear = {{ denominator = [1, 0.5], {rest} }} }}"));
    let neurons = |rest: &str| format!("[[neurons]]\nname = \"n\"\nn = 2\n{rest}\n");
    let state = neurons("type = \"lif\"") + "[[probe]]\nname = \"p\"\ntarget = \"n\"\nstate = \"volts\"\n";
    for (toml, parts) in [
        (linear("numerator = [1], analog = false, method = \"euler\""), ["probe 'p'", "method"]),
        (linear("numerator = []"), ["probe 'p'", "numerator is empty"]),
        (probe("inf"), ["probe 'p'", "must be finite"]),
        (node("process = { piecewise = { times = [], values = [] } }"), ["node 'x'", "no times"]),
        (neurons("type = { lif = { tau-rc = inf } }"), ["tau-rc is inf", "finite and above 0"]),
        (state, ["state of 'n' named 'volts'", "voltage, refractory_time"]),
        (neurons("type = \"lif\"\nstate = { volts = \"zeros\" }"), ["state of 'n' named 'volts'", "voltage"]),
    ] {
        let text = problem(&toml);
        assert!(parts.iter().all(|part| text.contains(part)), "{toml}: {text}");
    }
}

#[test]
fn the_config_is_checked_where_no_object_takes_it() {
    let node = "[[node]]\nname = \"x\"\nsize = 1\n";
    for (config, says) in [
        ("[config.ensemble]\nradius = -1", "[config.ensemble]: its radius is -1, but must be above 0"),
        (
            "[config.ensemble]\nmax-rates = { uniform = [2, 1] }",
            "the max-rates of [config.ensemble]: it is uniform",
        ),
        (
            "[config.ensemble]\nneuron-type = { lif = { tau-rc = -1 } }",
            "the LIF neurons of [config.ensemble]: tau-rc is -1",
        ),
        ("[config]\nsolver.method.lstsq-l2.reg = -1", "[config]: the reg of its solver is -1"),
        ("[config]\nsynapse = -1", "[config]: its synapse has the time constant -1 s"),
        ("[config.probe]\nsample-every = 0", "[config.probe]: its sample-every is 0 s"),
        (
            "[[network]]\nname = \"n\"\nconfig.ensemble.radius = 0\n[[network.node]]\nname = \"y\"\nsize = 1",
            "[config.ensemble] of network 'n': its radius is 0",
        ),
    ] {
        let text = problem(&format!("{config}\n{node}"));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_transform_that_makes_no_sense_is_named_where_a_size_follows_from_it() {
    for (transform, part) in [
        ("pool = { of = \"max\", input-shape = [4, 4, 1], pool-size = [5, 5] }", "5"),
        ("convolution = { n-filters = 0, input-shape = [4, 4, 1] }", "filters"),
        ("convolution = { n-filters = 1, input-shape = [4, 4, 1], groups = 2 }", "groups"),
        ("convolution = { n-filters = 1, input-shape = [4, 4, 1], strides = [0, 1] }", "stride"),
        ("pool = { of = \"max\", input-shape = [3, 4, 1] }", "[3, 4, 1]"),
    ] {
        let text = problem(&format!(
            "[[node]]\nname = \"x\"\nsize = 16\n[[layer]]\nname = \"v\"\n\
             [[connection]]\npre = \"x\"\npost = \"v\"\ntransform = {{ {transform} }}\n"
        ));
        assert!(text.contains("connection 'x->v'") && text.contains(part), "{transform}: {text}");
    }
    let text = problem(
        "[[node]]\nname = \"x\"\nsize = 2\n[[layer]]\nname = \"v\"\ninput = \"x\"\nbias-init = \"he\"\n",
    );
    assert!(text.starts_with("layer 'v': bias-init is for its weights"), "{text}");
}
