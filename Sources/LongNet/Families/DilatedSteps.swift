import Attention

/// Cuts tasks into pieces by the memory that their rows take.
struct DilatedSteps {
  let shape: AttentionShape
  let families: [DilatedFamily]

  /// Cuts a task into pieces whose rows take about so many bytes.
  ///
  /// Queries of one segment are never divided.
  func steps(of task: DilatedTask, bytes budget: Int) -> [DilatedStep] {
    let whole = DilatedStep(task: task, keys: 0..<task.keyCount)
    let bytesPerSegment = byteCount(of: whole) / task.segments.count
    if bytesPerSegment > budget {
      let bytesPerKey = families[task.family].kvHeads.count * keyBytes
      let keysPerStep = max(1, budget / bytesPerKey)
      return task.segments.flatMap { segment in
        stride(from: 0, to: task.keyCount, by: keysPerStep).map { first in
          DilatedStep(
            task: DilatedTask(task, segments: segment..<segment + 1),
            keys: first..<min(first + keysPerStep, task.keyCount))
        }
      }
    }
    let segmentsPerStep = max(1, budget / max(1, bytesPerSegment))
    return stride(from: task.segments.lowerBound, to: task.segments.upperBound, by: segmentsPerStep)
      .map { first in
        DilatedStep(
          task: DilatedTask(
            task, segments: first..<min(first + segmentsPerStep, task.segments.upperBound)),
          keys: whole.keys)
      }
  }

  private var keyBytes: Int {
    shape.batch * (shape.headDim + shape.valueHeadDim) * MemoryLayout<Float>.stride
  }

  /// The bytes of the rows of a piece.
  func byteCount(of step: DilatedStep) -> Int {
    let family = families[step.task.family]
    let queries = step.isFirst ? step.task.queryCount * family.queryHeads.count : 0
    return step.task.segments.count * (queries + step.keys.count * family.kvHeads.count) * keyBytes
  }
}
