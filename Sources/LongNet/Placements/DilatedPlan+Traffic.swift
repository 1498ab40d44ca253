import Attention

extension DilatedPlan {
  /// What goes to workers in the forward pass.
  package var forwardOutward: RowWidths {
    RowWidths(query: shape.headDim, key: shape.headDim + shape.valueHeadDim)
  }

  /// What comes home in the forward pass: an output and its log-sum-exp.
  ///
  /// - Parameter withRemainder: with what rounding takes from the log-sum-exp, for a backward pass.
  package func forwardHomeward(withRemainder: Bool) -> RowWidths {
    RowWidths(query: shape.valueHeadDim + (withRemainder ? 2 : 1), key: 0)
  }

  /// What goes to workers in the backward pass: also `do`, and three numbers a row.
  package var backwardOutward: RowWidths {
    RowWidths(
      query: shape.headDim + shape.valueHeadDim + 3, key: shape.headDim + shape.valueHeadDim)
  }

  /// The gradients that come home.
  package var backwardHomeward: RowWidths {
    RowWidths(query: shape.headDim, key: shape.headDim + shape.valueHeadDim)
  }

  /// The bytes that a rank sends in a pass, as a home and as a worker.
  ///
  /// - Complexity: O(segments of all tasks).
  package func bytesSent(by rank: Int, outward: RowWidths, homeward: RowWidths) -> Int {
    var floats = 0
    for (worker, tasks) in tasks.enumerated() {
      for task in tasks {
        let step = DilatedStep(task: task, keys: 0..<task.keyCount)
        if worker != rank {
          floats += self.floats(step, home: rank, outward, queries: true)
        } else {
          for home in 0..<ranks where home != rank {
            floats += self.floats(step, home: home, homeward, queries: true)
          }
        }
      }
    }
    return floats * MemoryLayout<Float>.stride
  }
}
