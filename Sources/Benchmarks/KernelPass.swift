/// What is measured.
package enum KernelPass: String, CaseIterable, Encodable, Sendable {
  case forward, backward
}
