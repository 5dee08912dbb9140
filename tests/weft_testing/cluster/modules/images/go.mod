module weft.dev/testing/images

go 1.25.0
