import Attention
import Sharding
import Tensors

extension DilatedPlan {
  /// A stretch of rows of a step that a rank holds.
  struct HeldRows {
    /// The index of the segment among those of the task.
    let segment: Int
    /// Indices among the rows of the step.
    let rows: PositionRange
    /// Indices among the tokens of the rank.
    let tokens: PositionRange
  }

  /// The queries of a step that a rank holds.
  func queries(of step: DilatedStep, heldBy rank: Int) -> [HeldRows] {
    held(step.task, step.task.queries, by: rank)
  }

  /// The keys of a step that a rank holds.
  func keys(of step: DilatedStep, heldBy rank: Int) -> [HeldRows] {
    held(step.task, [PositionRange(step.keys)], by: rank)
  }

  /// Calls `body` with each stretch of queries of a step that a rank holds, in each sequence: the
  /// order of rows in messages.
  func forEachQuery(
    of step: DilatedStep, heldBy rank: Int, _ body: (_ batch: Int, HeldRows) -> Void
  ) {
    let held = queries(of: step, heldBy: rank)
    for batch in 0..<shape.batch {
      for rows in held { body(batch, rows) }
    }
  }

  /// Calls `body` with each stretch of keys of a step that a rank holds, in each sequence.
  func forEachKey(
    of step: DilatedStep, heldBy rank: Int, _ body: (_ batch: Int, HeldRows) -> Void
  ) {
    let held = keys(of: step, heldBy: rank)
    for batch in 0..<shape.batch {
      for rows in held { body(batch, rows) }
    }
  }

  private func held(_ task: DilatedTask, _ rows: [PositionRange], by rank: Int) -> [HeldRows] {
    var result: [HeldRows] = []
    for segment in task.segments {
      let positions = families[task.family].rows(of: segment)
      var before = 0
      for run in rows {
        // Rows `start`, `start + stride`, … are positions in steps of both strides.
        let wanted = PositionRange(
          start: positions.start + run.start * positions.stride,
          stride: positions.stride * run.stride, count: run.count)
        var tokensBefore = 0
        for shard in home.shards[rank] {
          if let common = wanted.commonIndices(with: shard) {
            result.append(
              HeldRows(
                segment: segment - task.segments.lowerBound, rows: common.own.moved(by: before),
                tokens: common.other.moved(by: tokensBefore)))
          }
          tokensBefore += shard.count
        }
        before += run.count
      }
    }
    return result
  }

  // MARK: Bytes

  /// The floats that pass between a home and the rank that computes a step.
  ///
  /// - Parameter queries: whether rows of queries are among them.
  func floats(_ step: DilatedStep, home rank: Int, _ widths: RowWidths, queries: Bool) -> Int {
    let family = families[step.task.family]
    var sum = 0
    if queries, widths.query > 0 {
      let rows = self.queries(of: step, heldBy: rank).reduce(0) { $0 + $1.rows.count }
      sum += rows * family.queryHeads.count * widths.query
    }
    if widths.key > 0 {
      let rows = keys(of: step, heldBy: rank).reduce(0) { $0 + $1.rows.count }
      sum += rows * family.kvHeads.count * widths.key
    }
    return sum * shape.batch
  }
}

extension PositionRange {
  fileprivate func moved(by distance: Int) -> PositionRange {
    PositionRange(start: start + distance, stride: stride, count: count)
  }
}
