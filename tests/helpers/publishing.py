"""Published folders with little in them."""


def put(folder, number, name="cycle-0002"):
    """Publish a folder with a large file and a small one; where it is."""
    staged = (folder / name).stage()
    with (staged / "model").writing() as file:
        file.write_bytes(b"weights %d" % number)
    return (folder / name).publish(staged, {"record.json": b"%d" % number})
