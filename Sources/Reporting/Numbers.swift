extension Duration {
  /// As a number.
  package var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}

/// A number with a fixed number of decimals.
package func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled < 9e15 else { return "\(value)" }
  let digits = String(Int(scaled))
  let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return sign + padded }
  return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
}

/// A number with three significant digits, or all of its whole ones.
package func threeDigits(_ value: Double) -> String {
  let magnitude = abs(value)
  if magnitude >= 999.5, magnitude < 1e15 { return grouped(Int(value.rounded())) }
  return fixed(value, magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2)
}

/// A duration for people: `0.45 s`, `12.3 s`, `12 s` if whole, `4 min 05 s`, `2 h 07 min`.
package func formatSeconds(_ value: Double) -> String {
  // No integer holds its minutes; nobody waits for them either.
  guard abs(value) < 1e15 else { return "\(scientific(value)) s" }
  guard value >= 90 else {
    return value >= 1 && value == value.rounded() ? "\(Int(value)) s" : "\(threeDigits(value)) s"
  }
  let total = Int(value.rounded())
  let (minutes, rest) = (total / 60, total % 60)
  if minutes < 90 { return "\(minutes) min \(rest < 10 ? "0" : "")\(rest) s" }
  return "\(minutes / 60) h \(minutes % 60 < 10 ? "0" : "")\(minutes % 60) min"
}

/// A duration with three digits: `12.3 µs`, `1.23 ms`, `45.6 s`.
package func formatTime(_ value: Double) -> String {
  switch value {
  case ..<0.9995e-3: "\(threeDigits(value * 1e6)) µs"
  case ..<0.9995: milliseconds(value)
  default: "\(threeDigits(value)) s"
  }
}

/// A duration in milliseconds, for columns of one unit.
package func milliseconds(_ seconds: Double) -> String { "\(threeDigits(seconds * 1e3)) ms" }

/// A part of one: `12.3 %`.
package func percent(_ fraction: Double) -> String { "\(fixed(fraction * 100, 1)) %" }

/// A size for people: `512 B`, `24.0 MiB`.
package func formatBytes(_ value: Double) -> String {
  var value = value
  for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
    if abs(value) < 1000 {
      return unit == "B" ? "\(Int(value)) B" : "\(threeDigits(value)) \(unit)"
    }
    value /= 1024
  }
  return "\(fixed(value, 0)) EiB"
}

/// An integer with a comma every three digits.
package func grouped(_ value: Int) -> String {
  let digits = String(value.magnitude)
  var result = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { result.append(",") }
    result.append(digit)
  }
  return (value < 0 ? "-" : "") + result
}

/// Lines up columns: those of names, the second one unless told otherwise, to the left, the others
/// to the right.
package func table(_ rows: [[String]], names: Set<Int> = [1]) -> String {
  let columns = rows.first?.count ?? 0
  let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
  return rows.map { row in
    var line = row.enumerated().map { column, cell in
      let space = String(repeating: " ", count: widths[column] - cell.count)
      return names.contains(column) ? cell + space : space + cell
    }.joined(separator: "   ")
    while line.last == " " { line.removeLast() }
    return line
  }.joined(separator: "\n")
}

/// A number as `3.1e-07`.
package func scientific(_ value: Double) -> String {
  guard value.isFinite, value != 0 else { return "\(value)" }
  var exponent = 0
  var mantissa = abs(value)
  while mantissa >= 10 {
    mantissa /= 10
    exponent += 1
  }
  while mantissa < 1 {
    mantissa *= 10
    exponent -= 1
  }
  let digits = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
  return "\(value < 0 ? "-" : "")\(fixed(mantissa, 1))e\(exponent < 0 ? "-" : "+")\(digits)"
}
