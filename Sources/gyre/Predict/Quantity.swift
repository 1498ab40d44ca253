import ArgumentParser

/// A number with a unit on the command line.
protocol Quantity: ExpressibleByArgument {
  /// For each unit's name in small letters, how many of the base unit it is; the base unit's is
  /// empty.
  static var units: [String: Double] { get }
  /// What can be meant: a number beyond lacks its unit, or has the wrong one.
  static var plausible: ClosedRange<Double> { get }
  /// One as it can be written.
  static var example: String { get }
  /// In the base unit.
  var value: Double { get }
  init(_ value: Double)
}

extension Quantity {
  /// Parses `100gbit`, or a plain number of the base unit.
  init?(argument: String) {
    let text = argument.lowercased()
    // The longest that fits, so that 1ms is not taken for minutes of seconds.
    let unit = Self.units.keys.filter(text.hasSuffix).max { $0.count < $1.count } ?? ""
    guard let factor = Self.units[unit], let number = Double(text.dropLast(unit.count)),
      number.isFinite, number >= 0, (number * factor).isFinite
    else { return nil }
    self.init(number * factor)
  }

  var defaultValueDescription: String { "\(value)" }

  /// Refuses what cannot be meant.
  ///
  /// - Parameters:
  ///   - option: where it was given.
  ///   - words: what the value comes to.
  func requirePlausible(_ option: String, _ words: (Double) -> String) throws {
    if Self.plausible.contains(value) { return }
    throw ValidationError(
      "\(option) comes to \(words(value)), which can hardly be meant; give its unit, as in "
        + "\(option) \(Self.example).")
  }
}

/// Bytes a second: `100gbit`, `12.5GB/s`, `330mbit`.
struct Rate: Quantity {
  static let units = [
    "": 1, "kbit": 125, "mbit": 125e3, "gbit": 125e6, "tbit": 125e9, "kb/s": 1e3, "mb/s": 1e6,
    "gb/s": 1e9, "tb/s": 1e12,
  ]
  // From modems to all the links of a switch.
  static let plausible = 1e3...1e15
  static let example = "100gbit"
  let value: Double

  init(_ value: Double) { self.value = value }
}

/// Seconds: `2us`, `150ns`.
struct Delay: Quantity {
  static let units = ["": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "ps": 1e-12]
  // To a satellite and back takes half a second.
  static let plausible = 0...2.0
  static let example = "2us"
  let value: Double

  init(_ value: Double) { self.value = value }
}

/// Processor time of a byte: `0.3ns`.
struct ByteWork: Quantity {
  static let units = Delay.units
  static let plausible = 0...1e-6
  static let example = "0.3ns"
  let value: Double

  init(_ value: Double) { self.value = value }
}

/// Flops a second: `85G`, `312T`, `8.5e10`.
struct Speed: Quantity {
  static let units = ["": 1, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15]
  // From a microcontroller to a thousand accelerators.
  static let plausible = 1e6...1e18
  static let example = "80G"
  let value: Double

  init(_ value: Double) { self.value = value }
}
