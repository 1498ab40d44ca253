/// A number for which every bit pattern is a value, and the pattern of all zero bits is zero.
///
/// Memory that the operating system hands out zeroed is therefore already an array of zeros of any
/// such type, and bytes from a file or from another rank can be taken for elements unchecked.
public protocol PlainNumber: BitwiseCopyable, Sendable {}

extension Float: PlainNumber {}
extension Double: PlainNumber {}
extension Float16: PlainNumber {}
extension BFloat16: PlainNumber {}
extension Int: PlainNumber {}
extension Int8: PlainNumber {}
extension Int16: PlainNumber {}
extension Int32: PlainNumber {}
extension Int64: PlainNumber {}
extension UInt: PlainNumber {}
extension UInt8: PlainNumber {}
extension UInt16: PlainNumber {}
extension UInt32: PlainNumber {}
extension UInt64: PlainNumber {}
