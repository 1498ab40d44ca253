import Reporting

/// A number as short as it can be said: `0.5`, `12`, `4,096`, `1e+07`.
func plainNumber(_ value: Double) -> String {
  let magnitude = abs(value)
  if magnitude >= 1e9 || (magnitude > 0 && magnitude < 1e-3) { return scientific(value) }
  let rounded = value.rounded()
  if abs(value - rounded) < 1e-9 * max(1, magnitude) { return grouped(Int(rounded)) }
  var text = fixed(value, magnitude >= 10 ? 1 : 4)
  while text.hasSuffix("0") { text.removeLast() }
  return text
}

/// A time: `20 µs`, `5 ms`, `2 s`.
func tickSeconds(_ value: Double) -> String {
  switch value {
  case ..<0.9995e-6: "\(plainNumber(value * 1e9)) ns"
  case ..<0.9995e-3: "\(plainNumber(value * 1e6)) µs"
  case ..<0.9995: "\(plainNumber(value * 1e3)) ms"
  default: "\(plainNumber(value)) s"
  }
}

/// A size in binary units: `64 KiB`.
func tickBytes(_ value: Double) -> String {
  var value = value
  for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
    if value < 1023.5 { return "\(plainNumber(value)) \(unit)" }
    value /= 1024
  }
  return "\(plainNumber(value)) PiB"
}

/// A fraction as `80 %`.
func tickPercent(_ value: Double) -> String { "\(plainNumber(value * 100)) %" }

/// Useful operations in a second: `50 GFLOP/s`.
func tickFlops(_ value: Double) -> String { withPrefix(value, "FLOP/s") }

/// Bytes in a second: `5 GB/s`.
func tickRate(_ value: Double) -> String { withPrefix(value, "B/s") }

/// With three digits.
func shortFlops(_ value: Double) -> String { "\(threeDigits(value / 1e9)) GFLOP/s" }

private func withPrefix(_ value: Double, _ unit: String) -> String {
  var value = value
  for prefix in ["", "k", "M", "G", "T"] {
    if value < 999.5 { return "\(plainNumber(value)) \(prefix)\(unit)" }
    value /= 1000
  }
  return "\(plainNumber(value)) P\(unit)"
}
