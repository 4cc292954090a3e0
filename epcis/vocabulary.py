"""The terms of the Core Business Vocabulary 2.0 that an event may carry as bare words, and the URI that each stands for.

Source: the JSON-LD context of EPCIS 2.0.0 (CBV 2.0 section 7; sensor measurement types from the GS1 Web Vocabulary).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CBV = "https://ref.gs1.org/cbv/"
GS1 = "https://gs1.org/voc/"

EPCIS_CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"

PREFIXES: Mapping[str, str] = MappingProxyType(
    {"cbv": CBV, "gs1": GS1, "epcis": "https://ref.gs1.org/epcis/", "cbvmda": "urn:epcglobal:cbv:mda:"}
)
"""Compact-URI prefixes that the EPCIS context itself declares."""

URN_TERMS: tuple[tuple[str, str], ...] = (
    ("urn:epcglobal:cbv:bizstep:", CBV + "BizStep-"),
    ("urn:epcglobal:cbv:disp:", CBV + "Disp-"),
    ("urn:epcglobal:cbv:btt:", CBV + "BTT-"),
    ("urn:epcglobal:cbv:sdt:", CBV + "SDT-"),
    ("urn:epcglobal:cbv:er:", CBV + "ER-"),
)
"""How the URNs of CBV 1 begin, and what they begin with today (CBV 2.0, 8.9.2 rule 14)."""


def _terms(base: str, words: str) -> Mapping[str, str]:
    return MappingProxyType({word: base + word for word in words.split()})


BIZ_STEPS = _terms(
    CBV + "BizStep-",
    """
    accepting arriving assembling collecting commissioning consigning creating_class_instance cycle_counting
    decommissioning departing destroying disassembling dispensing encoding entering_exiting holding inspecting
    installing killing loading other packing picking receiving removing repackaging repairing replacing reserving
    retail_selling sampling sensor_reporting shipping staging_outbound stock_taking stocking storing transporting
    unloading unpacking void_shipping
    """,
)
"""Business steps (CBV 7.1)."""

DISPOSITIONS = _terms(
    CBV + "Disp-",
    """
    active available completeness_verified completeness_inferred conformant container_closed container_open damaged
    destroyed dispensed disposed encoded expired in_progress in_transit inactive mismatch_instance mismatch_class
    mismatch_quantity needs_replacement no_pedigree_match non_conformant non_sellable_other partially_dispensed
    recalled reserved retail_sold returned sellable_accessible sellable_not_accessible stolen unavailable unknown
    """,
)
"""Dispositions (CBV 7.2)."""

TRANSACTION_TYPES = _terms(
    CBV + "BTT-",
    """
    bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt
    """,
)
"""Business transaction types (CBV 7.3)."""

PARTY_TYPES = _terms(
    CBV + "SDT-",
    """
    owning_party possessing_party location
    """,
)
"""Source and destination types (CBV 7.4)."""

COMPONENTS = _terms(
    CBV + "Comp-",
    """
    x y z axial_distance azimuth height spherical_radius polar_angle elevation_angle easting northing latitude
    longitude altitude
    """,
)
"""Components of a sensor measurement (CBV 7.7)."""

MEASUREMENTS = _terms(
    GS1,
    """
    AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Radioactivity Altitude AmountOfSubstance
    AmountOfSubstancePerUnitVolume Angle AngularAcceleration AngularMomentum AngularVelocity Area Capacitance
    Conductance Conductivity Count Density Dimensionless DoseEquivalent DoseEquivalentRate DynamicViscosity
    ElectricCharge ElectricCurrent ElectricCurrentDensity ElectricFieldStrength Energy Exposure Force Frequency
    Illuminance Inductance Irradiance KinematicViscosity Length LinearMomentum Luminance LuminousFlux
    LuminousIntensity MagneticFlux MagneticFluxDensity MagneticVectorPotential Mass MassConcentration MassFlowRate
    MassPerAreaTime MemoryCapacity MolalityOfSolute MolarEnergy MolarMass MolarVolume Power Pressure RadiantFlux
    RadiantIntensity RelativeHumidity Resistance Resistivity SolidAngle SpecificVolume Speed SurfaceDensity
    SurfaceTension Temperature Time Torque Voltage Volume VolumeFlowRate VolumeFraction VolumetricFlux Wavenumber
    """,
)
"""Measurement types of a sensor report."""

ALERTS = _terms(
    GS1,
    """
    ALARM_CONDITION ERROR_CONDITION
    """,
)
"""Exceptions of a sensor report."""
