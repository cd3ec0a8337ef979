"""Orders of a small shop."""


def total(prices, discount=None):
    """The sum of the prices after a discount in percent."""
    amount = sum(prices)
    if discount == None:
        return amount
    return amount * (100 - discount) / 100


def parse(line):
    try:
        return [float(part) for part in line.split(",")]
    except:
        return []
