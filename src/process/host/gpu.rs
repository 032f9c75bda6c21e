//! Graphics processors, where speech is transcribed or media transcoded on them: by NVML, NVIDIA's own library, which is
//! loaded where its driver has put it.
//!
//! What each is called on goes through descriptors that are opened here: to be opened before the rights are given up.

/// One graphics processor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Its place in NVML's list, as `nvidia-smi` shows it.
    pub index: u32,
    /// Share of the last sample period (a sixth of a second to a second) in which it ran something.
    pub busy_ratio: Option<f64>,
    /// Memory, bytes.
    pub memory_total_bytes: Option<u64>,
    /// Of it, what is taken.
    pub memory_used_bytes: Option<u64>,
    /// Of its core.
    pub celsius: Option<f64>,
}

#[cfg(not(feature = "gpu"))]
pub use none::Gpus;
#[cfg(feature = "gpu")]
pub use nvml::Gpus;

#[cfg(feature = "gpu")]
mod nvml {
    use nvml_wrapper::Nvml;
    use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

    use super::Gpu;

    /// The library, loaded; or none.
    #[derive(Debug)]
    pub struct Gpus(Option<Nvml>);

    impl Gpus {
        /// Nothing is loaded.
        pub fn none() -> Self {
            Self(None)
        }

        /// Loads it, and has it look for its devices. Where there is none, this finds none, and costs nothing later.
        pub fn open() -> Self {
            let gpus = Self(Nvml::init().ok());
            // Whatever it opens only when it is asked.
            let _ = gpus.read();
            gpus
        }

        /// Whether there is something to read.
        pub fn are_there(&self) -> bool {
            self.0.is_some()
        }

        pub(in crate::process) fn read(&self) -> Vec<Gpu> {
            let Some(nvml) = &self.0 else { return Vec::new() };
            let devices = 0..nvml.device_count().unwrap_or(0).min(MOST);
            let look = |index| {
                let device = nvml.device_by_index(index).ok()?;
                let memory = device.memory_info().ok();
                Some(Gpu {
                    index,
                    busy_ratio: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
                    memory_total_bytes: memory.as_ref().map(|memory| memory.total),
                    memory_used_bytes: memory.as_ref().map(|memory| memory.used),
                    celsius: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
                })
            };
            devices.filter_map(look).collect()
        }
    }

    /// No host has more.
    const MOST: u32 = 64;
}

#[cfg(not(feature = "gpu"))]
mod none {
    use super::Gpu;

    /// Nothing: this program is built without.
    #[derive(Debug)]
    pub struct Gpus;

    impl Gpus {
        /// There are none.
        pub fn none() -> Self {
            Self
        }

        /// Finds none.
        pub fn open() -> Self {
            Self
        }

        /// Whether there is something to read.
        pub fn are_there(&self) -> bool {
            false
        }

        #[allow(clippy::unused_self, reason = "as the other one")]
        pub(in crate::process) fn read(&self) -> Vec<Gpu> {
            Vec::new()
        }
    }
}
