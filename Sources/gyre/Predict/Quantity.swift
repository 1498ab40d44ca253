import ArgumentParser

/// A number with a unit on the command line.
protocol Quantity: ExpressibleByArgument {
  /// For each unit's name in small letters, how many of the base unit it is; the base unit's is empty.
  static var units: [String: Double] { get }
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
      number.isFinite, number >= 0
    else { return nil }
    self.init(number * factor)
  }

  var defaultValueDescription: String { "\(value)" }
}

/// Bytes a second: `100gbit`, `12.5GB/s`, `330mbit`.
struct Rate: Quantity {
  static let units = [
    "": 1, "kbit": 125, "mbit": 125e3, "gbit": 125e6, "tbit": 125e9, "kb/s": 1e3, "mb/s": 1e6,
    "gb/s": 1e9, "tb/s": 1e12,
  ]
  let value: Double

  init(_ value: Double) { self.value = value }
}

/// Seconds: `2us`, `150ns`.
struct Delay: Quantity {
  static let units = ["": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "ps": 1e-12]
  let value: Double

  init(_ value: Double) { self.value = value }
}

/// Flops a second: `85G`, `312T`, `8.5e10`.
struct Speed: Quantity {
  static let units = ["": 1, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15]
  let value: Double

  init(_ value: Double) { self.value = value }
}
