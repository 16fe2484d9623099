//! Selection of trained parameters among existing objects.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::network::{Link, Network, ObjectId};

impl Network {
    /// Trains or freezes existing parameters by name: a parameter, an object or connection with its parameters, or a network
    /// ([`Network::within`]) with all its contents. It overrides earlier settings.
    ///
    /// Weights that a learning rule changes are never trained, and gains only if they are named directly.
    ///
    /// ```
    /// use nengo_wgpu::network::{Connection, Network, Node, library::Product};
    ///
    /// # fn main() -> nengo_wgpu::Result<()> {
    /// let mut net = Network::new(0);
    /// net.config.trainable = false;
    /// let product = Product::new(50, 2).add(&mut net, "product")?;
    /// // Train one subnetwork except for one number in it.
    /// net.set_trainable("product", true)?;
    /// net.set_trainable("product.input_a->product.sq1", false)?;
    /// let frozen = net.parameters().iter().filter(|p| !p.trainable);
    /// assert!(frozen.map(|p| p.name.as_str()).eq(["product.input_a->product.sq1/weights"]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownName`]; training a parameter that a learning rule changes.
    pub fn set_trainable(&mut self, name: &str, trainable: bool) -> Result<()> {
        let ruled = self.ruled()?;
        if let Ok(at) = self.parameter_index(name) {
            if trainable && ruled.iter().any(|r| r == name) {
                let problem =
                    "a learning rule changes it while the network runs, so that it cannot be trained";
                return Err(Error::invalid(format!("parameter '{name}'"), problem));
            }
            self.parameters[at].trainable = trainable;
            return Ok(());
        }
        let inside = format!("{name}.");
        let within = |object: &str| object.starts_with(&inside);
        // A connection from or to a network lies outside it.
        let between = |link: &Link| {
            let name = |id: ObjectId| self.objects[id.0].name.as_str();
            match link.spec.name {
                Some(_) => within(&link.name),
                None => within(name(link.pre)) && within(name(link.post)),
            }
        };
        let links: HashMap<&str, bool> = self.links.iter().map(|l| (l.name.as_str(), between(l))).collect();
        let is_meant = |parameter: &str| {
            let owner = parameter.rsplit_once('/').map_or(parameter, |(owner, _)| owner);
            owner == name || links.get(owner).copied().unwrap_or_else(|| within(owner))
        };
        let meant: Vec<usize> =
            (0..self.parameters.len()).filter(|&i| is_meant(&self.parameters[i].name)).collect();
        let exists =
            links.contains_key(name) || self.objects.iter().any(|o| o.name == name || within(&o.name));
        if meant.is_empty() && !exists {
            let objects = self.objects.iter().map(|o| o.name.as_str());
            let parameters = self.parameters.iter().map(|p| p.name.as_str());
            return Err(Error::unknown("parameter, object or network", name, objects.chain(parameters)));
        }
        for i in meant {
            let own = &self.parameters[i].name;
            let never = own.ends_with("/gain") || ruled.contains(own);
            self.parameters[i].trainable = trainable && !never;
        }
        Ok(())
    }

    /// Parameters of learning rules: matrices that they change, and their scales.
    fn ruled(&self) -> Result<Vec<String>> {
        let mut ruled = Vec::new();
        for link in &self.links {
            if let Some(rule) = &link.rule {
                ruled.push(self.place_of(rule.changes)?.parameter);
                ruled.push(format!("{}/scale", link.name));
            }
        }
        Ok(ruled)
    }
}
