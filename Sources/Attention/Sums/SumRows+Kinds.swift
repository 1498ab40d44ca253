import AttentionTypes
import Compute

extension SumRows {
  /// Adds as many rows of other sums, on all threads.
  func add(_ others: SumRows, by kind: any SumKind.Type, team: ThreadTeam) {
    unsafe team.forEachPart(of: count, cost: columns) { part in
      unsafe kind.add(part.count, from: part.lowerBound, of: others, to: part.lowerBound, of: self)
    }
  }

  /// Writes all rows one after the other, multiplied by `factor`, on all threads.
  func write(
    times factor: Double, to target: UnsafeMutablePointer<Float>, by kind: any SumKind.Type,
    team: ThreadTeam
  ) {
    unsafe write(0..<count, times: factor, to: target, by: kind, team: team)
  }

  /// Writes some rows so.
  func write(
    _ rows: Range<Int>, times factor: Double, to target: UnsafeMutablePointer<Float>,
    by kind: any SumKind.Type, team: ThreadTeam
  ) {
    nonisolated(unsafe) let target = unsafe target
    unsafe team.forEachPart(of: rows.count, cost: columns) { part in
      let first = rows.lowerBound + part.lowerBound
      unsafe kind.write(
        first..<first + part.count, of: self, times: factor,
        to: target + part.lowerBound * columns)
    }
  }
}
